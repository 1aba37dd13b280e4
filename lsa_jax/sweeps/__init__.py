"""Sweeps: a whole grid of trainings in one call, on every device, each finished part on disk at once."""
