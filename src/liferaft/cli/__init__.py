"""The `liferaft` command: what a person touches."""
