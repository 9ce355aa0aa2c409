"""An ordinary class as a state machine: commands, queries, sessions, exactly once."""
