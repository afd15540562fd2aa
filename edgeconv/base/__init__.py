"""What every layer stands on; standard library only."""
