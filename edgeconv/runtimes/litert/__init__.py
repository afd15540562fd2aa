"""LiteRT, or TensorFlow Lite's runtime on machines that LiteRT has no wheel for."""
