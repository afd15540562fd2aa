"""Two real models taken the whole way, measured on this machine: `python -m demo`."""
