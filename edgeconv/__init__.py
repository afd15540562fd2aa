"""edgeconv: from a trained model to an on-device release that can be defended."""

__version__ = "0.1.0"
