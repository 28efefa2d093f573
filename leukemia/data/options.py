"""How a user wants a data set to be read, and the choices that there are; importing it is cheap."""

from dataclasses import dataclass

AUTO = "auto"
KNOWN = "known"
UNKNOWN = "unknown"  # of `subjects`: nobody knows which cells are of one person
# Public sets whose layout is known, and the kinds of files that any lab may have.
PUBLIC = ("acevedo_pbc", "all_idb2", "aml_lmu", "aml_mll", "bloodmnist", "elsafty_rbc",
          "kaggle_all", "lisc", "raabin_wbc")  # fmt: skip
SOURCES = (AUTO, "table", "cnmc", "folders", "npz", "webdataset", *PUBLIC)
CROP, PAD, RESIZE = "crop", "pad", "resize"
FITS = (CROP, PAD, RESIZE)  # how an image that is not as the window becomes a square
GROUNDS = ("black", "white")  # under what is transparent, beside what is padded
DEPTHS = (0, 10, 12, 14, 16)  # bits that 16-bit files use; 0: nobody has said
STAINS = ("none", "macenko", "reinhard")  # whose reference colours are normalised to
REST = "rest"  # of `negative`: all classes that are not positive


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How a user wants a data set to be read; all but `data` itself.

    source: a name in SOURCES, or `auto`: what it looks like.
    positive, negative: a class, or several with commas that become one; `auto`: as the source has
        it, and the other class. negative `rest`: all other classes.
    class_names: names for people, `all=ALL, leukemic blast;hem=HEM, healthy`.
    subject: a regular expression that gives the subject from a path (its group `subject`, else its
        first group, else all of it), or a whole number: the folder of that level, from 1.
    subjects: `known`, or `unknown`, which makes every image a unit of its own.
    columns: of a table, `path=image,label=diagnosis`: what its columns are called.
    join: of a table, another one with columns for the same cells or subjects.
    strict_paths: refuse files that do not lie in the data's folder, before any is looked at.
    """

    source: str = AUTO
    positive: str = AUTO
    negative: str = AUTO
    class_names: str = ""
    subject: str = ""
    subjects: str = KNOWN
    columns: str = ""
    join: str = ""
    strict_paths: bool = False
