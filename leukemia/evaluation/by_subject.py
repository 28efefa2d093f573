"""Metrics by subject: cells of one subject tend to be called wrongly together."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from leukemia.evaluation.metrics import auroc, confusion, from_confusion
from leukemia.evaluation.predictions import Predictions

POSITIVE, NEGATIVE, BOTH = GROUPS = ("positive", "negative", "both")  # by a subject's labels


def by_subject(predictions: Predictions) -> pd.DataFrame:
    """One row a subject, by name.

    Columns: subject; group (one of GROUPS); cells; label (1 or 0; between them, the share of
    positive cells, where a subject has both); mean_score; called_share (of its cells that are
    called positive); errors; error_rate; accuracy; called (bool: the mean score reaches the
    threshold of the predictions).
    """
    cells = pd.DataFrame(
        {
            "subject": predictions.subjects,
            "label": predictions.labels,
            "score": predictions.scores.astype(np.float64),
            "called": predictions.calls,
            "wrong": ~predictions.right,
        }
    )
    table = cells.groupby("subject", sort=True, as_index=False).agg(
        cells=("label", "size"),
        label=("label", "mean"),
        mean_score=("score", "mean"),
        called_share=("called", "mean"),
        errors=("wrong", "sum"),
        error_rate=("wrong", "mean"),
    )
    table.insert(1, "group", table["label"].map({1.0: POSITIVE, 0.0: NEGATIVE}).fillna(BOTH))
    called = table["mean_score"] >= predictions.threshold
    return table.assign(accuracy=1 - table["error_rate"], called=called)


def subject_metrics(predictions: Predictions) -> dict[str, float]:
    """Metrics that count each subject once, called by the mean score of its cells.

    sens, spec, bal_acc and auroc (of the mean scores), NaN where a class has no subject, and
    count: of the subjects with one label; the others have no true class and are left out.
    """
    table = by_subject(predictions)
    one = table[table["group"] != BOTH]
    labels, mean_scores = one["label"].to_numpy(), one["mean_score"].to_numpy()
    of_counts = from_confusion(confusion(labels, mean_scores, predictions.threshold))
    return {
        **{name: of_counts[name] for name in ("sens", "spec", "bal_acc")},
        "auroc": auroc(labels, mean_scores),
        "count": float(len(one)),
    }


def worst(table: pd.DataFrame, k: int) -> pd.DataFrame:
    """The k subjects with the highest error rate, then most errors, then by name."""
    order = table.sort_values(
        ["error_rate", "errors", "subject"], ascending=[False, False, True], kind="stable"
    )
    return order.head(k).reset_index(drop=True)


def by_class(table: pd.DataFrame, names: Mapping[int, str]) -> pd.DataFrame:
    """One row for each of GROUPS that has subjects, from the rows of `by_subject`.

    Columns: class (`names` by label, or both); subjects; cells; errors; error_rate (of all
    their cells); mostly_wrong (subjects with more than half of their cells wrong).
    """
    rows = table.assign(mostly_wrong=table["error_rate"] > 0.5)
    classes = rows.groupby("group").agg(
        subjects=("subject", "size"),
        cells=("cells", "sum"),
        errors=("errors", "sum"),
        mostly_wrong=("mostly_wrong", "sum"),
    )
    classes.insert(3, "error_rate", classes["errors"] / classes["cells"])
    classes = classes.loc[[group for group in GROUPS if group in classes.index]].reset_index()
    named = {POSITIVE: names[1], NEGATIVE: names[0], BOTH: BOTH}
    return classes.assign(group=classes["group"].map(named)).rename(columns={"group": "class"})
