"""Attacks by files that run code when they are loaded, counted: what gets out of a child."""
