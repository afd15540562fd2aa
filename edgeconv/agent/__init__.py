"""The agent: takes benchmarks under leases and measures them on its devices.

`loop` decides, `run` does; the process never loads a runtime or numpy.
"""
