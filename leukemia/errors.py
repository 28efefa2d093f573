"""Errors that a user can correct: one line of what came, what was expected, what to do next."""

from leukemia.text.escape import visible


class UserError(Exception):
    """A mistake in the input or the options; entry points print it without a traceback.

    It is one line in characters that can be seen, whatever names stand in it.
    """

    def __init__(self, text: str):
        super().__init__(visible(text))


def first_line(error: BaseException) -> str:
    """What an error says, as much of it as a message of ours repeats."""
    return (str(error).splitlines() or [type(error).__name__])[0]
