"""The Python client: `AsyncClient` in `aio`, the blocking `Client` in `sync`.

Both give and take the messages of `edgeconv.v1` and raise `EdgeconvError`.
"""
