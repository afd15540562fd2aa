"""Generated messages and stubs of the wire; see `protos/`."""
