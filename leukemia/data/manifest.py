"""Files that are listed with their digests and need not be there: enough for part of the audit."""

from pathlib import Path

import pandas as pd

from leukemia.data import names
from leukemia.data.index import COLUMNS
from leukemia.data.sources import cnmc
from leukemia.errors import UserError

NEEDED = ["path", "sha256"]


def is_manifest(data: Path) -> bool:
    """Whether this is a CSV that gives digests and no labels."""
    if not data.is_file():
        return False
    with data.open(encoding="utf-8-sig", errors="replace") as file:
        columns = [name.strip().strip('"') for name in file.readline().split(",")]
    return set(NEEDED) <= set(columns) and "label" not in columns


def read(csv: Path, labels: Path | None = None) -> pd.DataFrame:
    """The images of a manifest, in its order: columns path, label, subject, split, sha256.

    Label, subject and split are taken from C-NMC 2019's paths, else "".

    Args:
        labels: the CSV with the labels and subjects of C-NMC 2019's preliminary set.

    Raises:
        UserError: the file is not readable, lists a path twice, lists no image, or has a name
            that is not fit to print.
    """
    try:
        listed = pd.read_csv(csv, dtype=str, keep_default_na=False, encoding="utf-8-sig")
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(
            f"{csv}: not a readable CSV ({str(error).splitlines()[0]}); expected UTF-8 text "
            f"with the columns path,sha256"
        ) from error
    names.check(listed, csv)
    listed = listed[~listed["path"].str.lower().str.endswith((".csv", ".txt", ".json"))]
    doubled = listed["path"][listed["path"].duplicated()]
    if listed.empty or len(doubled):
        fault = f"{doubled.iloc[0]} is listed twice" if len(doubled) else "no image is listed"
        raise UserError(f"{csv}: {fault}; list every image once as path,sha256")
    rows = [cnmc.from_path(Path(str(path))) for path in listed["path"]]
    frame = pd.DataFrame(rows, columns=["label", "subject", "split"], index=listed.index)
    frame = frame.join(listed[NEEDED])[COLUMNS].reset_index(drop=True)
    return frame if labels is None else _with_labels(frame, labels)


def _with_labels(frame: pd.DataFrame, labels: Path) -> pd.DataFrame:
    if not labels.is_file():
        raise UserError(f"{labels}: no such file; give C-NMC_test_prelim_phase_data_labels.csv")
    by_name = cnmc.preliminary_labels(labels)
    for row in frame.index[frame["split"] == cnmc.PRELIMINARY]:
        name = Path(str(frame.at[row, "path"])).name
        frame.loc[row, ["label", "subject"]] = by_name.get(name, ("", ""))
    return frame
