"""Drives and observes the real stack: nodes as processes, and faults on their links."""
