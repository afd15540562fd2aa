"""Kills servers in the middle of their work and compares what comes out all the same.

A `Trial` keeps servers alive on one store, has jobs done by them, and kills them at named
points. What stands in the store in the end is held against what a server makes that nobody
disturbs.
"""
