"""Exit codes of the command line."""

DONE = 0
CLAIM_FAILED = 1
"""A claim that should hold does not."""
BAD_INPUT = 2
"""Bad input: one line says what was given, what is expected and how to fix it."""
SOME_RUNS_FAILED = 3
"""Finished, but some runs diverged or failed."""
INTERNAL_ERROR = 70
"""Something failed that should not: one line says what, and `--traceback` where."""
INTERRUPTED_RESUMABLE = 75
"""Interrupted; finished work is on disk, and the same command resumes."""
INTERRUPTED = 130
"""Interrupted with nothing worth resuming."""
