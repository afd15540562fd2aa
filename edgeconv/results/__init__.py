"""What came of it, as data."""
