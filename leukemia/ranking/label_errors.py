"""Cells whose label may be wrong: confident learning on scores of networks that had not seen them.

A cell's score is the mean over all networks that are ranked and tested on it, whatever their
technique: no single network's luck, and no choice of a winner, decides. Nothing is ever removed.

Source: Northcutt, Jiang and Chuang, Confident Learning, Journal of Artificial Intelligence Research
70, 2021, as cleanlab has it: as many cells of each class as the joint counts say are another's, the
least sure of their own label first.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from leukemia.cells import NEGATIVE, POSITIVE, Cells
from leukemia.evaluation.plots import DPI, render
from leukemia.ranking.networks import Network

PICTURED = 12  # cells
FEWEST = 10  # tested cells of a class, below which nothing is said
COLUMNS = ["path", "subject", "label", "suggested", "score", "runs", "own_label"]


@dataclass(frozen=True, kw_only=True)
class LabelErrors:
    """table: one row a suspect, COLUMNS: the mean score of the positive class, of how many runs,
    and how sure they are of its own label, least first. tested: cells that were looked at.
    networks: whose scores these are."""

    table: pd.DataFrame
    tested: int
    networks: int

    @property
    def line(self) -> str:
        """For people, without a point at the end."""
        return (
            f"LABELS: {len(self.table)} of {self.tested} tested cells look mislabelled (confident "
            f"learning on the mean scores of {self.networks} networks that had not seen their "
            f"subjects); none was removed; label_errors.csv names them"
        )


def suspects(networks: Mapping[str, Network], positive: str, negative: str) -> LabelErrors | None:
    """The cells of the networks' tests that look mislabelled; None where a class has too few.

    Args:
        networks: of runs under a protocol that keeps subjects apart. positive, negative: the names
            of the classes.
    """
    cells = _mean_scores(networks)
    counts = cells["truth"].value_counts()
    if min(counts.get(NEGATIVE, 0), counts.get(POSITIVE, 0)) < FEWEST:
        return None
    from cleanlab.filter import find_label_issues  # seconds, which few commands need

    probabilities = np.stack([1 - cells["score"], cells["score"]], axis=1)
    rows = find_label_issues(
        cells["truth"].to_numpy(int),
        probabilities,
        return_indices_ranked_by="self_confidence",
        n_jobs=1,
    )
    names = {NEGATIVE: negative, POSITIVE: positive}
    truth = cells["truth"].to_numpy(int)
    table = cells.assign(
        label=cells["truth"].map(names),
        suggested=(1 - cells["truth"]).map(names),
        own_label=probabilities[np.arange(len(cells)), truth],
    )
    return LabelErrors(
        table=table.iloc[rows][COLUMNS].reset_index(drop=True),
        tested=len(cells),
        networks=len(networks),
    )


def figure(errors: LabelErrors, cells: Cells, footnote: str) -> np.ndarray:
    """(H, W, 3) uint8: the suspects of which the networks are surest, each under its label, what is
    suggested, and its subject.

    cells: those that the runs were trained and tested on, as the classifier sees them.
    """
    row_of = {str(path): row for row, path in enumerate(cells.cell_id)}
    shown = [each for each in errors.table.to_dict("records") if each["path"] in row_of]
    drawn = Figure((9, 5.6), dpi=DPI)
    places = drawn.subplots(2, PICTURED // 2, squeeze=False).ravel()
    for axes in places:
        axes.axis("off")
    for axes, each in zip(places, shown[:PICTURED], strict=False):
        axes.imshow(np.asarray(cells.images[row_of[each["path"]]]))
        axes.set_title(
            f"{str(each['label'])[:18]}?\nrather {str(each['suggested'])[:18]}\n"
            f"own label: {each['own_label']:.0%}\n{str(each['subject'])[-18:]}",
            size=7,
        )
    title = f"{len(errors.table)} of {errors.tested} tested cells look mislabelled"
    return render(drawn, title, footnote, hspace=0.6)


def _mean_scores(networks: Mapping[str, Network]) -> pd.DataFrame:
    """One row a tested cell: path, subject, truth, its mean score and of how many networks."""
    parts = [
        pd.DataFrame({
            "path": network.test.cell_id, "subject": network.test.subjects,
            "truth": network.test.labels, "score": network.test.scores.astype(float),
        })
        for network in networks.values()
    ]  # fmt: skip
    grouped = pd.concat(parts).groupby("path", sort=True)
    mean = grouped.agg(
        subject=("subject", "first"),
        truth=("truth", "first"),
        score=("score", "mean"),
        runs=("score", "size"),
    )
    return mean.reset_index()
