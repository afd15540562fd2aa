"""What is to be done, as data; free of torch."""
