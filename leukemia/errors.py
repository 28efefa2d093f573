"""Errors that a user can correct: one line of what came, what was expected, what to do next."""


class UserError(Exception):
    """A mistake in the input or the options; entry points print it without a traceback."""
