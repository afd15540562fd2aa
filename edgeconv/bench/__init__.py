"""Measuring on this machine: fresh child processes, phases, memory, device state, the record.

What runs in the parent is standard library and pydantic only; `child`, `inputs` and
`phases` run in children.
"""
