"""This installation's runs of the thesis' techniques, beside what the thesis counted."""

import pandas as pd

from leukemia.errors import UserError
from leukemia.thesis.document import Block, Paragraph, Picture, Section, Table, literal

COMMAND = "mlflow run . -e inflation -P data=PATH"
TERMS = ["cells", "simulated_data", "budget", "image_size"]  # shown together only where equal
COUNTED = ["thesis_acc", "thesis_sens", "thesis_spec", "thesis_prec"]
FIGURES = ["test_acc", "test_bal_acc", "test_bal_acc_lo", "test_bal_acc_hi", "test_wf1", "val_acc"]
COLUMNS = ["technique", "protocol", "runs", "seeds", "folds", *TERMS, "note", *FIGURES, *COUNTED]
LEAKY, APART = "thesis", "subject"
HEAD = (
    "technique", "runs", "as the thesis counts", "accuracy, thesis", "accuracy, subject",
    "balanced accuracy, thesis", "balanced accuracy, subject", "flatters by",
    "weighted F1, thesis", "weighted F1, subject",
)  # fmt: skip


def checked(own: pd.DataFrame | None) -> pd.DataFrame | None:
    """The own runs under the two protocols, or None if there are none.

    own: one row a technique, protocol and TERMS, with COLUMNS, as `inflation.by_protocol` gives
    it.

    Raises:
        UserError: columns are missing, or a technique has several rows on the same terms.
    """
    if own is None or own.empty:
        return None
    missing = [name for name in COLUMNS if name not in own]
    if missing:
        raise UserError(
            f"own runs lack the column(s) {', '.join(missing)}; inflation.by_protocol makes them"
        )
    kept = own[own["protocol"].isin([LEAKY, APART])].reset_index(drop=True)
    kept["simulated_data"] = kept["simulated_data"].fillna("").astype(str)
    repeated = kept[kept.duplicated(["technique", "protocol", *TERMS])]
    if not repeated.empty:
        first = repeated.iloc[0]
        raise UserError(
            f"own runs of {first['technique']} under protocol {first['protocol']} have several "
            f"rows on the same cells and budget; give their mean as one row"
        )
    return None if kept.empty else kept


def groups(own: pd.DataFrame) -> list[pd.DataFrame]:
    """The runs by TERMS: only within a group can they be set against each other."""
    return [group for _, group in own.groupby(TERMS, sort=False, dropna=False)]


def flattery(group: pd.DataFrame) -> pd.Series:
    """Technique -> test balanced accuracy under `thesis` less that under `subject`.

    Only techniques that were run under both.
    """
    table = group.pivot(index="technique", columns="protocol", values="test_bal_acc")
    table = table.reindex(columns=[LEAKY, APART])
    return (table[LEAKY] - table[APART]).dropna()


def kind_of_cells(group: pd.DataFrame) -> str:
    """What cells these are, in capitals if they are not C-NMC 2019."""
    first = group.iloc[0]
    if first["simulated_data"]:
        return "DRAWN CELLS (they say nothing about leukemia)"
    of_cnmc = first["cells"].rstrip(".").endswith("; cnmc")  # a class may be called so too
    return "C-NMC 2019" if of_cnmc else "CELLS OTHER THAN C-NMC 2019"


def sentence(own: pd.DataFrame | None) -> str:
    """What the own runs come to, in one sentence."""
    if own is None:
        return f"**Own runs** of the same techniques are still to be made: `{COMMAND}`."
    return f"**Run here**: {'; '.join(map(_came_to, groups(own)))}."


def _came_to(group: pd.DataFrame) -> str:
    gap, where = flattery(group), f"on {kind_of_cells(group)}"
    if gap.empty:
        return f"{where} no technique has been run under both protocols yet"
    return (
        f"{where} the thesis' protocol shows {gap.min():.3f} to {gap.max():.3f} more balanced "
        f"accuracy than subjects kept apart, over {len(gap)} techniques"
    )


def section(own: pd.DataFrame | None) -> Section:
    """The own runs, or the command that makes them."""
    title = "The same techniques, run here under both protocols"
    if own is None:
        text = (
            f"There are no own runs under the protocols `{LEAKY}` and `{APART}` yet. "
            f"`{COMMAND}` makes them; then write this report again."
        )
        return Section(title=title, blocks=(Paragraph(text=text),))
    blocks: list[Block] = [Paragraph(text=READING)]
    for number, group in enumerate(groups(own)):
        caption = f"Balanced accuracy on test cells, technique by protocol; {kind_of_cells(group)}."
        blocks += [_table(group), Picture(name=picture(number), caption=caption)]
    return Section(title=title, blocks=tuple(blocks))


def picture(number: int) -> str:
    """The name of a group's picture."""
    return f"own_runs_{number + 1}"


READING = (
    f"Protocol `{LEAKY}` does what the thesis did: it balances first, pools real and made cells "
    f"and then splits at random, so that a subject, and what was made from one, stands on both "
    f'sides. Protocol `{APART}` keeps every subject on one side. "As the thesis counts" is '
    f'accuracy over the training images, made ones included, each counted twice. "Flatters by" '
    f"is the difference of the two test balanced accuracies. Only the columns named "
    f'"{APART}" speak of unseen subjects.'
)


def terms(group: pd.DataFrame) -> str:
    """What a group of runs was measured on, in one line."""
    first = group.iloc[0]
    return (
        f"{kind_of_cells(group)}: {first['cells'].rstrip('.')}; budget {first['budget']}, "
        f"{first['image_size']} px"
    )


def _table(group: pd.DataFrame) -> Table:
    seeds, folds, notes = (_distinct(group[name]) for name in ("seeds", "folds", "note"))
    caption = (
        f"{literal(terms(group))}. {literal(notes[:1].upper() + notes[1:])}. Number of seeds: "
        f"{seeds}; of folds: {folds}. In brackets: 95 % interval over test subjects."
        f"{_same_counts(group)}"
    )
    techniques = dict.fromkeys(group["technique"])
    return Table(caption=caption, head=HEAD, rows=tuple(_row(group, name) for name in techniques))


def _distinct(values: pd.Series) -> str:
    texts = [str(each).rstrip(".") for each in values if pd.notna(each) and each != ""]
    return "; ".join(dict.fromkeys(texts)) or "not told"


def _same_counts(group: pd.DataFrame) -> str:
    counted = group[COUNTED].dropna()
    same = not counted.empty and counted.sub(counted["thesis_acc"], axis=0).abs().max().max() < 5e-5
    return (
        " Counted as the thesis does, sensitivity, specificity and precision are the same number, "
        "since this classifier's two outputs would sum to one."
        if same
        else ""
    )


def _row(group: pd.DataFrame, technique: str) -> tuple[str, ...]:
    runs = {
        protocol: group[(group["technique"] == technique) & (group["protocol"] == protocol)]
        for protocol in (LEAKY, APART)
    }
    gap = flattery(group)
    return (
        literal(technique),
        " / ".join(_text(each, "runs", "d") for each in runs.values()),
        _text(runs[LEAKY], "thesis_acc"),
        *(_text(each, "test_acc") for each in runs.values()),
        *(_with_interval(each) for each in runs.values()),
        f"{gap[technique]:+.3f}" if technique in gap else "-",
        *(_text(each, "test_wf1") for each in runs.values()),
    )


def _text(runs: pd.DataFrame, column: str, form: str = ".3f") -> str:
    if runs.empty or pd.isna(runs[column].iloc[0]):
        return "-"
    value = runs[column].iloc[0]
    return format(int(value), form) if form == "d" else format(float(value), form)


def _with_interval(runs: pd.DataFrame) -> str:
    middle, low, high = (_text(runs, f"test_bal_acc{end}") for end in ("", "_lo", "_hi"))
    return middle if low == "-" else f"{middle} [{low},\u00a0{high}]"
