"""What a study is to do, as a file: what it may say, and how what came deviates from it."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from leukemia.errors import UserError
from leukemia.study import deviations
from leukemia.study import plan as plans
from tests.test_ranking import record

PLAN = """\
techniques: [baseline, weighted]
contrast: [weighted, baseline]  # the only question
metric: bal_acc
seeds: [0, 1]
"""
JSON = """{"techniques": ["baseline", "weighted"], "contrast": ["weighted", "baseline"],
"metric": "bal_acc", "seeds": [0, 1]}"""


def plan(more: str = "", text: str = PLAN) -> plans.Plan:
    return plans.parsed((text + more).encode(), "p.yaml")


BEFORE, AFTER = pd.Timestamp("2026-01-01", tz="UTC"), pd.Timestamp("2026-01-03", tz="UTC")


def row(technique: str, seed: int, fold: int = 0, **others: Any) -> dict:
    began = BEFORE + pd.Timedelta(seed + 1, "h")
    return record(
        technique, seed, 0.8, fold, technique=technique, folds="2", start_time=began, **others
    )


def ranked(*more: dict) -> pd.DataFrame:
    """Two techniques on two seeds and two folds."""
    usual = [row(t, s, f) for t in ("baseline", "weighted") for s in (0, 1) for f in (0, 1)]
    return pd.DataFrame([*usual, *more])


def test_yaml_and_json_say_the_same_and_the_digest_is_the_files(tmp_path: Path) -> None:
    assert plan().values == plan(text=JSON).values
    file = tmp_path / "plan.json"
    file.write_bytes(JSON.replace("\n", "\r\n").encode())
    assert plans.read(file).digest == sha256(file.read_bytes()).hexdigest()


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    whole = plan("repeats: 2\nfolds: 5\ntest_folds: all\nprotocol: subject\nimage_size: 48\n")
    written = plans.of(whole.values)
    plans.write(written, tmp_path / "plan.yaml")
    assert plans.read(tmp_path / "plan.yaml") == written
    assert written.values == whole.values
    with pytest.raises(UserError, match="is there already"):
        plans.write(written, tmp_path / "plan.yaml")


WRONG = {
    "seed: 0": "there is no key 'seed'; choose from techniques, contrast,",
    "12: 0": "there is no key 12;",
    "seeds: 0,1": "seeds is '0,1'; expected a list of different whole numbers, such as [0, 1, 2]",
    "seeds: [0, 0]": "seeds is [0, 0]; expected a list of different",
    "seeds: [0, -1]": "seeds is [0, -1]; expected",
    "seeds: [true]": "seeds is [True]; expected",
    "seeds: []": "seeds is []; expected",
    "seeds: [0.5]": "seeds is [0.5]; expected",
    "metric: f9": "metric is 'f9'; expected one of acc, bal_acc",
    "metric: [wf1]": "metric is ['wf1']; expected one of",
    "techniques: [baseline, magic]": "expected a list of techniques, of adasyn,",
    "techniques: [[baseline]]": "expected a list of techniques",
    "contrast: [weighted]": "expected two of the techniques",
    "contrast: [weighted, dcgan]": "contrast names dcgan, which is none of its techniques",
    "folds: 2": "folds is 2; expected a whole number of 3 or more",
    "folds: many": "folds is 'many'; expected a whole number",
    "repeats: -1": "repeats is -1; expected a whole number of 0 or more",
    "test_folds: some": "test_folds is 'some'; expected a list of different whole numbers",
    "budget: huge": "budget is 'huge'; expected one of auto, thesis",
    "data_digest: ''": "data_digest is ''; expected a text",
    "seeds: [0": "is neither YAML nor JSON of at most 65536 bytes (while parsing",
    "seeds: !!python/object:os.system [0]": "is neither YAML nor JSON",
    f"budget: {'x' * 70_000}": "(70069 bytes)",
}


@pytest.mark.parametrize("more", WRONG, ids=lambda more: more[:30])
def test_what_a_plan_cannot_say_is_one_line(more: str) -> None:
    name = more.split(":")[0]
    kept = "".join(line for line in PLAN.splitlines(True) if not line.startswith(f"{name}:"))
    with pytest.raises(UserError) as refused:
        plan(f"{more}\n", kept)
    assert WRONG[more].replace("70069", str(len(kept) + len(more) + 1)) in str(refused.value)
    assert str(refused.value).startswith("plan p.yaml")
    assert len(str(refused.value).splitlines()) == 1


def test_a_plan_that_says_too_little_or_is_no_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"p\.yaml lacks contrast, metric; every"):
        plan(text="techniques: [baseline]\nseeds: [0]\n")
    for text in ("", "- baseline", "[" * 20_000):
        with pytest.raises(UserError, match=r"plan p\.yaml"):
            plan(text=text)
    with pytest.raises(UserError, match="No such file or directory; give a file"):
        plans.read(tmp_path / "gone.yaml")
    with pytest.raises(UserError, match=r"plan p\.yaml is neither YAML"):
        plans.parsed(b"\xff\xfe\x00", "p.yaml")


def test_what_came_as_planned_is_said_with_the_digest_and_the_contrast() -> None:
    whole = plan("protocol: subject\ntest_folds: all\nbudget: auto\n")
    verdict = deviations.verdict(whole, ranked(), "bal_acc", BEFORE)
    assert verdict.line == (
        f"as planned (plan {whole.digest[:12]}); the planned contrast is weighted against "
        f"baseline, which has 0.04 of the level of 0.05 for itself"
    )
    assert verdict.contrast == ("weighted", "baseline")


def test_a_plan_that_is_younger_than_a_run_gives_its_contrast_nothing() -> None:
    """Whoever has seen results could name the pair that differs most."""
    for logged, older in ((AFTER, 8), (BEFORE + pd.Timedelta(90, "min"), 4)):
        verdict = deviations.verdict(plan(), ranked(), "bal_acc", logged)
        assert verdict.contrast is None
        assert verdict.line.endswith(
            f"one comparison among others: {older} of 8 runs are older than the plan"
        )


def test_arms_with_other_settings_are_not_those_of_the_contrast() -> None:
    came = ranked()
    came["arm"] = came["arm"].replace("weighted", "weighted (mode=sampler)")
    assert deviations.verdict(plan(), came, "bal_acc", BEFORE).contrast is None


DEVIATES: dict[str, tuple[str, pd.DataFrame, str, list[str]]] = {
    "a technique is missing": (
        "", ranked().query("technique == 'baseline'"), "bal_acc", ["no run of weighted"],
    ),
    "another technique": (
        "", ranked(*(row("dcgan", s, f) for s in (0, 1) for f in (0, 1))), "bal_acc",
        ["dcgan is not in the plan"],
    ),
    "another metric": ("", ranked(), "wf1", ["ordered by wf1 instead of bal_acc"]),
    "fewer seeds": ("", ranked().query("seed == 0"), "bal_acc", ["seeds 0 instead of 0,1"]),
    "more seeds": (
        "", ranked(*(row(t, 2, f) for t in ("baseline", "weighted") for f in (0, 1))), "bal_acc",
        ["seeds 0,1,2 instead of 0,1"],
    ),
    "fewer folds of all": (
        "test_folds: all", ranked().query("fold == 1"), "bal_acc", ["test folds 1 instead of 0,1"],
    ),
    "other folds": ("test_folds: [0]", ranked(), "bal_acc", ["test folds 0,1 instead of 0"]),
    "one run is missing": (
        "", ranked().query("technique != 'weighted' or seed != 1 or fold != 1"), "bal_acc",
        ["weighted lacks 1 of 4 runs"],
    ),
    "one run is missing of each": (
        "", ranked().query("seed != 1 or fold != 1"), "bal_acc", ["no run of seed 1 fold 1"],
    ),
    "other terms": (
        "image_size: 48\nbudget: equal\nbackbone_weights: none\ndata_digest: da7a",
        ranked().assign(image_size="210", budget="equal", weights="imagenet"), "bal_acc",
        ["data_digest same instead of da7a", "image_size 210 instead of 48",
         "backbone weights imagenet instead of none"],
    ),
    "fewer repeats": (
        "repeats: 2", ranked().assign(split_seed="0"), "bal_acc", ["1 repeats instead of 2"],
    ),
    "repeats of a version that has none": (
        "repeats: 2", ranked(), "bal_acc", ["1 repeats instead of 2"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DEVIATES)
def test_each_deviation_is_named(name: str) -> None:
    more, came, metric, expected = DEVIATES[name]
    planned = plan(f"{more}\n")
    assert deviations.deviations(planned, came, metric) == expected
    verdict = deviations.verdict(planned, came, metric, BEFORE)
    assert verdict.line == f"NOT as planned (plan {planned.digest[:12]}): {'; '.join(expected)}"
    assert verdict.contrast is None


def test_the_official_split_has_folds_of_its_own() -> None:
    came = ranked().assign(protocol="official", folds="2")
    more = "protocol: official\nfolds: 5\ntest_folds: all\n"
    assert deviations.deviations(plan(more), came, "bal_acc") == []


def test_a_weights_file_is_known_by_its_name() -> None:
    came = ranked().assign(weights="notop.h5")
    assert deviations.deviations(plan("backbone_weights: a/notop.h5\n"), came, "bal_acc") == []


def test_several_splits_of_a_seed_are_as_planned() -> None:
    rows = [
        row(name, seed, 0, split_seed=str(split))
        for name in ("baseline", "weighted") for seed in (0, 1) for split in (7, 8)
    ]  # fmt: skip
    assert deviations.deviations(plan("repeats: 2\n"), pd.DataFrame(rows), "bal_acc") == []
    assert deviations.deviations(plan("repeats: 2\n"), pd.DataFrame(rows[:-1]), "bal_acc") == [
        "weighted lacks 1 of 4 runs"
    ]
