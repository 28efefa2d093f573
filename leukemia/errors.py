"""Errors that a user can correct: one line of what came, what was expected, what to do next."""

from collections.abc import Sequence

from leukemia.text.escape import visible


class UserError(Exception):
    """A mistake in the input or the options; entry points print it without a traceback.

    It is one line in characters that can be seen, whatever names stand in it.

    choices: lines that a command prints before it, where one of them is to be chosen.
    exit_code: of a command that ends with it.
    """

    exit_code = 1

    def __init__(self, text: str, choices: Sequence[str] = ()):
        super().__init__(visible(text))
        self.choices = tuple(choices)


def first_line(error: BaseException) -> str:
    """What an error says, as much of it as a message of ours repeats."""
    return (str(error).splitlines() or [type(error).__name__])[0]
