"""What the project needs to build and test itself; nothing of it is installed."""
