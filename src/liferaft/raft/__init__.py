"""Raft as a pure function of (state, event, now, random): no I/O, no clock, no threads."""
