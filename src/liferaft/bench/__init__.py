"""Measures what a user would feel, beside the rivals, in one run."""
