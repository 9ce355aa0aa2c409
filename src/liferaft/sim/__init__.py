"""Whole clusters, the code that ships, on a virtual clock, network and disk, from one seed."""
