"""Hostile model files, made by mutators that know the structure, and what becomes of them."""
