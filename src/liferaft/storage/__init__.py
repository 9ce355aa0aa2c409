"""The log on disk: records, segments, recovery. Of raft it imports only the types."""
