"""A policy over comparisons, and the yes or no for a release.

Empty for now: a gate needs comparisons, which measuring does not make yet. The layer is
kept so that its place, beside `client` and `report`, is settled.
"""
