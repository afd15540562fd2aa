"""Pure statistics over raw samples. What measuring uses is standard library only."""
