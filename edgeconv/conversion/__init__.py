"""The heavy half: reads, rewrites, lowers and verifies models. Usable without any server."""
