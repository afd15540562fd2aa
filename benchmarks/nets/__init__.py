"""Networks with seeded random weights, in the shape of well-known ones, in plain torch."""
