"""How frames travel between two processes: TCP, Unix sockets, memory, and LeakySocket on top."""
