"""A sweep's programs compiled ahead of time for hardware that is not there, and what they would take of it."""
