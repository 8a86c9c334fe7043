"""A recording of hours, chunk by chunk, in memory that does not grow with it."""
