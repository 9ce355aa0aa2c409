"""Was a history linearizable? Models, readers of histories, and the search; nothing of Raft."""
