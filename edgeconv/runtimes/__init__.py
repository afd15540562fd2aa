"""One folder a runtime: `spec.py` says what it is, `child.py` runs it in a child process."""
