"""The device catalogue: kinds of devices as facts with public sources."""
