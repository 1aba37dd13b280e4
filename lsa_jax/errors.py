"""The one error for bad input, so that the command line can tell it from a bug."""


class InputError(ValueError):
    """Something that was passed in cannot be used; the message says what was got, what is wanted and how to mend it."""
