"""The demonstration: a shared to-do list that survives a leaky network, a crash and a partition.

Everything in it is a user of the product like any other: nodes are `liferaft node` processes,
clients are processes with a stub from `liferaft.connect`.
"""
