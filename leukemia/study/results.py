"""What came of the runs of an experiment: ranking, inflation, registration, as values and text."""

from collections.abc import Mapping, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from leukemia import RESEARCH_ONLY
from leukemia.cells import Cells
from leukemia.data.cache import cache_folder
from leukemia.errors import UserError
from leukemia.ranking import details, peers, text
from leukemia.ranking import inflation as inflations
from leukemia.ranking import rank as rankings
from leukemia.ranking.details import Details
from leukemia.ranking.inflation import Inflation
from leukemia.ranking.label_errors import LabelErrors, figure, suspects
from leukemia.ranking.networks import Network
from leukemia.ranking.rank import CHOICE, Ranking
from leukemia.registry import GAINS, champion
from leukemia.splits import APART, THESIS_PRELIMINARY
from leukemia.splits.protocol import SUBJECTS_UNKNOWN, over_folds
from leukemia.study.deviations import verdict
from leukemia.study.kept import first_logged
from leukemia.study.plan import Plan
from leukemia.text.spreadsheet import as_csv
from leukemia.tracking import connection, leaderboard, records, views
from leukemia.tracking.leaderboard import Beside

LABELS = "label_errors"  # the files that name cells whose label may be wrong


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """A ranking and what it was made from.

    details: tables beside it. records: one row a run that is ranked. left_out: how many were not
    and why, in a line. waived: findings of the audit that were overlooked, in a line, "" for none.
    label_errors: cells that look mislabelled; None where the runs cannot say.
    """

    ranking: Ranking
    details: Details
    records: pd.DataFrame
    left_out: str
    waived: str
    label_errors: LabelErrors | None = None


def rank(
    experiment_id: str,
    protocol: str | None = None,
    metric: str = CHOICE,
    waive: Set[str] = frozenset(),
    cache: Path | None = None,
    *,
    terms: str = "",
    keys: Set[str] | None = None,
    plan: Plan | None = None,
    missing: str = "",
) -> Ranked:
    """The order of an experiment's techniques; publishes nothing.

    Args:
        protocol: of the runs to rank; None: of those that keep subjects apart, if there are any.
        metric: what the order goes by on validation cells.
        waive: kinds of leak that are overlooked.
        terms: the first digits of the digest of the terms to rank, where there are several.
        keys: of the runs to rank, such as a study's; None: of any run.
        plan: what was planned: a note of the ranking says whether it came so.
        missing: what should have been there too, as a note of the ranking; "" for nothing.

    Raises:
        UserError: there are no such runs, they are of several terms, or their audit found what is
            not waived.
    """
    there = records.training_runs(experiment_id)
    kept, left_out = peers.comparable(there, protocol, metric, terms, keys)
    believed, tested, doubts = _believed(kept, cache)
    waived = rankings.refuse_leaks(believed, set(waive))
    planned = None
    if plan:
        planned = verdict(plan, believed, metric, first_logged(experiment_id, plan))
    ranking = rankings.rank(believed, tested, metric, planned.contrast if planned else None)
    errors = _label_errors(believed, tested)
    notes = filter(
        None,
        (
            missing,
            *ranking.notes,
            planned.line if planned else "",
            errors.line if errors else "",
            _of_files(believed),
        ),
    )
    ranking = replace(ranking, notes=tuple(notes))
    return Ranked(
        ranking=ranking,
        details=details.details(believed, tested, ranking.references),
        records=believed,
        left_out=" ".join(filter(None, [peers.left_out_text(left_out, metric), *doubts])),
        waived=waived,
        label_errors=errors,
    )


def _label_errors(runs: pd.DataFrame, networks: Mapping[str, Network]) -> LabelErrors | None:
    """What the test scores say of labels, where no network had seen the subjects that it tests."""
    last = runs.iloc[-1]
    unseen = last["protocol"] in APART or SUBJECTS_UNKNOWN in str(last["protocol_line"])
    return suspects(networks, str(last["positive"]), str(last["negative"])) if unseen else None


def _of_files(runs: pd.DataFrame) -> str:
    """What was left out of the data's files, as the last of the runs says it; "" for nothing."""
    if "files" not in runs:  # of earlier versions
        return ""
    said = runs.sort_values("start_time")["files"].dropna()
    return f"Files of the data: {said.iloc[-1]}" if len(said) and said.iloc[-1] else ""


def publish(experiment_id: str, ranked: Ranked, cells: Cells | None = None) -> list[str]:
    """Write the ranking to MLflow, and lines that say where it is to be seen.

    cells: those of the runs, for the picture of those that look mislabelled; None without it.
    """
    leaderboard.publish(
        experiment_id,
        ranked.ranking,
        ranked.details,
        ranked.records,
        ranked.waived,
        _beside(ranked, cells),
    )
    server = connection.server()
    table = views.address(server, experiment_id, leaderboard.RANKING)
    charts = views.address(server, experiment_id, leaderboard.CHARTS, charts=True)
    lines = [f"The table in MLflow: {table}", f"Curves and pictures: {charts}"]
    best = ranked.ranking.table.sort_values("rank")["run_id"].tolist()
    if len(best) > 1:
        lines.append(f"Side by side: {views.compare_address(server, experiment_id, best)}")
    return lines


def _beside(ranked: Ranked, cells: Cells | None) -> Beside:
    errors = ranked.label_errors
    if errors is None:
        return Beside()
    pictures = {}
    if cells is not None and len(errors.table):
        run = ranked.records.iloc[-1]
        about = f"{run.protocol_line} Cells: {run.cells}. {RESEARCH_ONLY}"
        pictures = {LABELS: figure(errors, cells, about)}
    return Beside(texts={f"{LABELS}.csv": as_csv(errors.table)}, pictures=pictures)


def as_text(ranked: Ranked) -> str:
    """The ranking's tables, and below them what they were measured on."""
    lines = filter(None, [ranked.waived, *_terms(ranked)])
    beside = details.as_text(ranked.details)
    return f"{text.as_text(ranked.ranking)}\n\n{beside}\n\n" + "\n".join(lines)


def register(ranked: Ranked, model: str = champion.NAME, gain: str = GAINS[0]) -> list[str]:
    """Register the leader's classifier and make it the champion; lines that say so.

    Args:
        gain: what the interval of the gain over the baseline must say, one of GAINS.

    Raises:
        Refused: a rule of the gate is broken, or the tracking server's user may not register.
    """
    ranking = ranked.ranking
    version = champion.register(ranking, model, ranked.waived, gain)
    page = views.model_address(connection.server(), model, str(version.version))
    return [
        f"Registered {model} version {version.version}, alias {champion.CHAMPION} "
        f"(run {ranking.leader}): models:/{model}@{champion.CHAMPION}",
        f"Its page: {page}",
    ]


def inflation(
    experiment_id: str,
    metric: str = CHOICE,
    cache: Path | None = None,
    keys: Set[str] | None = None,
) -> Inflation:
    """What each way of splitting adds, from the runs that are there; publishes nothing.

    Args:
        keys: of the runs that are meant; None: of any run.

    Raises:
        UserError: no technique ran under two protocols, or the runs are of several terms.
    """
    kept, tested = _of_all_protocols(experiment_id, cache, keys=keys)
    return inflations.measure(kept, tested, metric)


def publish_inflation(experiment_id: str, measured: Inflation) -> list[str]:
    """Write it to MLflow, and a line that says where it is to be seen."""
    leaderboard.publish_inflation(experiment_id, measured)
    link = views.address(connection.server(), experiment_id, leaderboard.PROTOCOLS, charts=True)
    return [f"Technique by protocol in MLflow: {link}"]


def by_protocol(experiment_id: str, cache: Path | None = None, terms: str = "") -> pd.DataFrame:
    """One row a technique and protocol with what its runs say of themselves.

    Args:
        terms: the first digits of the digest of the terms that are meant, where there are several.

    Raises:
        UserError: there are no finished training runs, or they are of several terms.
    """
    return inflations.by_protocol(*_of_all_protocols(experiment_id, cache, terms))


def _of_all_protocols(
    experiment_id: str, cache: Path | None, terms: str = "", keys: Set[str] | None = None
) -> tuple[pd.DataFrame, Any]:
    """Comparable records of all protocols, and their test cells."""
    trained = records.training_runs(experiment_id)
    # It has a fold of its own: as the latest run it would put the others out of the comparison.
    trained = trained[trained["protocol"] != THESIS_PRELIMINARY]
    if trained.empty:
        raise UserError(f"all runs are of protocol {THESIS_PRELIMINARY}: run one of the others")
    kept = inflations.comparable(trained, terms, keys)
    believed, tested, _ = _believed(kept, cache)
    return believed, tested


def _believed(
    kept: pd.DataFrame, cache: Path | None
) -> tuple[pd.DataFrame, Mapping[str, Network], list[str]]:
    """The records whose figures are those of what the runs left, their networks' predictions,
    and what a reader must know of the others.

    Raises:
        UserError: there is no such record.
    """
    checked = records.checked(kept["run_id"], cache or cache_folder())
    believed = kept[~kept["run_id"].isin(checked.broken.keys())]
    doubts = [f"Run {run_id} is left out: {why}." for run_id, why in checked.broken.items()]
    if believed.empty:
        raise UserError(f"no run is to be believed. {' '.join(doubts)}")
    unbound = int((~believed["run_id"].isin(checked.bound)).sum())
    if unbound:
        doubts.append(
            f"{unbound} runs are of an earlier version, which bound figures and files by no "
            f"manifest."
        )
    return believed, checked.networks, doubts


def _terms(ranked: Ranked) -> list[str]:
    """What the table was measured on, for a reader who sees nothing else."""
    ranking, run = ranked.ranking, ranked.records.iloc[-1]
    subjects = ranking.table["subjects"].max()
    several = (ranking.table["runs"] > ranking.table["seeds"]).any()
    lines = [
        *(f"Note: {note}." for note in ranking.notes),
        f"Ordered by validation {ranking.metric}, mean ± standard deviation over seeds; intervals "
        f"are over {subjects} test subjects (and networks, where there are several seeds), since "
        f"cells of one subject are not independent; they do not allow for other training "
        f"subjects. Positive class: {run.positive}.",
        over_folds(run.protocol_line) if several else run.protocol_line,
        f"Cells: {run.cells}. Budget {run.budget}, {run.image_size} px, {run.note}.",
        peers.line(ranked.records),
        RESEARCH_ONLY,
    ]
    if ranked.left_out:
        lines.append(ranked.left_out)
    return lines
