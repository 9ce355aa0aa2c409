"""liferaft."""
