"""Does jobs: inspections, and conversions step by step in a job child."""
