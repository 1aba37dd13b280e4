"""Throughput, measured: each case compares answers first, then times both sides in interleaved rounds of one process."""
