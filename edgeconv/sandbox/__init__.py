"""Walls and limits: starts single-use children; knows nothing of models."""
