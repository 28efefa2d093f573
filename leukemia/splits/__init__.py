"""Which cell may be in which split, and whether that held: protocol, audit, leaks.

Here are the names that commands offer; importing them costs nothing.
"""

THESIS_PRELIMINARY = "thesis_preliminary"  # as the thesis splits, but tested on its own test set
SUBJECT, IMAGE = "subject", "image"  # the first is called as the second where nobody knows them
PROTOCOLS = (SUBJECT, "official", IMAGE, "thesis", THESIS_PRELIMINARY)  # see `protocol`
OF_THESIS = ("thesis", THESIS_PRELIMINARY)  # those that balance before they split
APART = (SUBJECT, "official")  # those that mean to keep a subject in one split
FOLDS = 5  # 80 % to learn from and 20 % to test, as in the thesis, section 3.3
# Kinds of leak that the audit finds and that a ranking can be told to overlook.
LEAKS = ("identical", "alike", "subject", "synthetic", "copies", "labels")
FORMER_LEAKS = {"made": "synthetic"}  # names that tags of older runs have


def leaks_in(text: str) -> set[str]:
    """The kinds of leak in a text with commas, as tags and options have them, by today's names."""
    return {FORMER_LEAKS.get(kind, kind) for kind in text.split(",") if kind}
