"""One file a way to reach a device, all behind the Protocol in `driver`."""
