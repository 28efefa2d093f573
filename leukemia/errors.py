"""What a user can mend: one line saying what came, what was expected and what to do next."""


class UserError(Exception):
    """A mistake in the input or the options; entry points print it without a traceback."""
