"""How small a difference a study would find, and what its deviations are made of."""

from pathlib import Path

import mlflow
import numpy as np
import pytest
from click.testing import CliRunner
from scipy.stats import t as student

from benchmarks.verdicts import Design, ranked, study
from entrypoints import power as command
from leukemia.evaluation.jackknife import Jackknife
from leukemia.ranking import power, power_plot
from leukemia.ranking.power import Components, Grid

STATED = ["--net-sd", "0.02", "--single-sd", "0.1", "--lasting-sd", "0.05"]


def jackknife(whole: np.ndarray, without: np.ndarray, without_fold: np.ndarray) -> Jackknife:
    count = without.shape[1]
    return Jackknife(
        names=np.arange(count).astype(str),
        kinds=1 + np.arange(count) % 2,
        sizes=np.ones(count),
        whole=whole,
        without=without,
        without_fold=without_fold,
        shares=np.full(without_fold.shape, 1 / without_fold.shape[1]),
    )


def test_of_networks_alone_it_is_student_s_t_over_them() -> None:
    parts = Components(net=0.02**2, single=0.0, lasting=0.0)
    for seeds, folds, contrasts in ((2, 3, 1), (3, 5, 5)):
        error, freedom = 0.02 / np.sqrt(seeds * folds), seeds * folds - 1
        expected = error * (
            student.ppf(1 - 0.025 / contrasts, freedom) + student.ppf(power.ASKED, freedom)
        )
        found = power.detectable(parts, subjects=50, seeds=seeds, folds=folds, contrasts=contrasts)
        assert found == pytest.approx(expected, rel=1e-6)


def test_more_of_anything_finds_smaller_differences_and_more_comparisons_larger_ones() -> None:
    parts = Components(net=0.02**2, single=0.1**2, lasting=0.05**2)
    usual = {"subjects": 73, "seeds": 3, "folds": 5, "contrasts": 5}
    least = power.detectable(parts, **usual)
    for name in ("subjects", "seeds", "folds"):
        assert power.detectable(parts, **usual | {name: 2 * usual[name]}) < least
    assert power.detectable(parts, **usual | {"contrasts": 20}) > least


def test_a_pilot_of_one_technique_tells_what_equal_networks_differ_by() -> None:
    """Luck of networks: 2 of them a difference; subjects that differ by seed: likewise."""
    rng, seeds, folds, count = np.random.default_rng(0), 40, 3, 30
    luck = rng.normal(0, 0.03, (seeds, folds))
    whole = 0.8 + luck.mean(axis=1)
    without_fold = np.stack(
        [0.8 + np.delete(luck, fold, axis=1).mean(axis=1) for fold in range(folds)], axis=1
    )
    without = np.repeat(whole[:, None], count, axis=1)
    parts = power.of_one_technique(jackknife(whole, without, without_fold))
    assert np.sqrt(parts.net / 2) == pytest.approx(0.03, rel=0.15)
    assert parts.single == pytest.approx(0, abs=1e-12)
    assert parts.lasting == 0


@pytest.mark.parametrize("of_split", [0.0, 0.05])
def test_splits_are_told_from_networks_where_seeds_share_them(of_split: float) -> None:
    rng, splits, seeds = np.random.default_rng(1), 60, 4
    moved = np.repeat(rng.normal(0, of_split, splits), seeds)
    luck = rng.normal(0, 0.03, (splits * seeds, 2))
    whole = 0.8 + moved + luck.mean(axis=1)
    without_fold = (0.8 + moved)[:, None] + luck[:, ::-1]
    own = jackknife(whole, np.repeat(whole[:, None], 30, axis=1), without_fold)
    crossed = power.spread(own, np.repeat(np.arange(splits), seeds).tolist())
    assert crossed["splits"] * np.sqrt(splits) == pytest.approx(of_split, abs=0.008)
    apart = power.spread(own, list(range(splits * seeds)))
    assert np.isnan(apart["splits"])
    assert apart["networks"] > 0


def test_a_ranking_is_a_pilot_for_the_next_study() -> None:
    drawn = study(Design("pilot", "scores", 20, 14, 2, 3), 0.0, np.random.default_rng(2))
    several = ranked(drawn, "auroc").pilot
    alone = ranked({"baseline": drawn["baseline"]}, "auroc").pilot
    once = {"baseline": {block: n for block, n in drawn["baseline"].items() if block[0] == "0"}}
    assert several
    assert several.about == "5 differences of techniques"
    assert several.components.lasting > 0
    assert alone
    assert alone.about.startswith("2 repeats of baseline alone")
    assert alone.components.lasting == 0
    assert ranked(once, "auroc").pilot is None


def test_the_curve_is_drawn() -> None:
    parts = Components(net=0.02**2, single=0.1**2, lasting=0.05**2)
    table = Grid(subjects=[30, 100], seeds=[2, 3], folds=[3], contrasts=5).table(parts)
    assert table["networks"].tolist() == [6, 9, 6, 9]
    drawn = power_plot.figure(table, "auroc", "stated deviations")
    assert drawn.dtype == np.uint8
    assert drawn.shape[2] == 3


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    mlflow.set_tracking_uri(None)


def test_the_command_prints_the_table_and_keeps_it(store: None) -> None:
    done = CliRunner().invoke(command.main, [*STATED, "--subjects", "73", "--seeds", "3,5"])
    assert done.exit_code == 0, done.output
    rows = [line.split() for line in done.output.splitlines()]
    assert ["73", "3", "5", "15"] in [row[:4] for row in rows]
    assert "Measured on stated deviations, not measured here" in done.output
    (run,) = mlflow.search_runs(search_all_experiments=True, output_format="list")
    assert run.data.tags["kind"] == "power"
    files = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id)}
    assert {"power.txt", "power.csv", "power.png"} <= files


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--net-sd", "0.02"], "give net_sd, single_sd and lasting_sd, all three; or none"),
        ([*STATED, "--seeds", "1,3"], "seeds 1, 3: give numbers from 2 on"),
        ([*STATED, "--subjects", "all"], "subjects : give numbers from 4 on"),
        ([], "no finished training runs in this experiment"),
    ],
)
def test_what_cannot_be_told_is_one_line(store: None, words: list[str], told: str) -> None:
    done = CliRunner().invoke(command.main, words)
    assert done.exit_code == 1
    assert told in done.output
    assert "Traceback" not in done.output
    assert mlflow.search_runs(search_all_experiments=True, output_format="list") == []
