"""Real processes under faults: a local cluster, killed, cut off and starved, and judged by clients.

Everything in it is a user of the product like any other: nodes are `liferaft node` processes,
clients are processes with a stub from `liferaft.connect`. The faults are made with what the system
has: signals, the live controls of the links, strace, and file systems in files.
"""
