"""The one error for bad input, so that the command line can tell it from a bug."""


class InputError(ValueError):
    """An input cannot be used; the message says what was given, what is expected and how to fix it."""
