"""Replicated objects that ship with liferaft."""
