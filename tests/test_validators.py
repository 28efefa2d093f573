"""Every rule has a case that breaks it and one that keeps it; honest figures never break any."""

import math
from typing import Any

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from leukemia.errors import UserError
from leukemia.evaluation.doubled_counts import doubled
from leukemia.evaluation.metrics import Confusion
from leukemia.evaluation.predictions import Predictions
from leukemia.evaluation.reported import (
    METRICS,
    Reported,
    agrees,
    both_outputs_right,
    implied_share,
    recompute,
    span,
    value_of,
)
from leukemia.evaluation.validators import (
    OF_SUMS,
    RULES,
    check,
    check_classes,
    check_many,
    check_sum,
)

# sens .9, spec .85, prec .75, acc .8667
GOOD: dict[str, Any] = {"tp": 90, "fn": 10, "fp": 30, "tn": 170}


def rules(reported: Reported) -> list[str]:
    return [problem.rule for problem in check(reported)]


@pytest.mark.parametrize(
    ("rule", "broken", "kept"),
    [
        ("whole counts", GOOD | {"tp": -1}, GOOD),
        ("whole counts", GOOD | {"fn": 2.5}, GOOD | {"fn": 10.0}),
        ("sides add up", GOOD | {"n_positive": 101}, GOOD | {"n_positive": 100}),
        ("sides add up", GOOD | {"n_negative": 201}, GOOD | {"n_negative": 200}),
        ("cells exist", GOOD | {"n_positive": 99}, GOOD | {"n_positive": 100}),
        ("cells exist", GOOD | {"at_most_negative": 199}, GOOD | {"at_most_negative": 200}),
        ("accuracy between",
         {"sensitivity": "0.80", "specificity": "0.90", "accuracy": "0.92"},
         {"sensitivity": "0.80", "specificity": "0.90", "accuracy": "0.91"}),
        ("accuracy between",
         {"sensitivity": "0.80", "specificity": "0.90", "accuracy": "0.78"},
         {"sensitivity": "0.80", "specificity": "0.90", "accuracy": "0.79"}),
        ("recomputed", GOOD | {"sensitivity": 0.89}, GOOD | {"sensitivity": "90 %"}),
        ("recomputed", GOOD | {"specificity": 0.84}, GOOD | {"specificity": 0.85}),
        ("recomputed", GOOD | {"precision": 0.76}, GOOD | {"precision": 0.75}),
        ("recomputed", GOOD | {"accuracy": 0.88}, GOOD | {"accuracy": 0.87}),
        ("recomputed", GOOD | {"accuracy": 0.85}, GOOD | {"accuracy": 0.86}),  # cut off
        ("class shares",
         {"sensitivity": "0.800", "specificity": "0.900", "accuracy": "0.850",
          "n_positive": 200, "n_negative": 100},
         {"sensitivity": "0.800", "specificity": "0.900", "accuracy": "0.850",
          "n_positive": 150, "n_negative": 150}),
        ("possible fraction",
         {"sensitivity": "0.50", "n_positive": 3}, {"sensitivity": 0.67, "n_positive": 3}),
        ("possible fraction",
         {"accuracy": 0.55, "n_positive": 3, "n_negative": 4},
         {"accuracy": 0.57, "n_positive": 3, "n_negative": 4}),
    ],
)  # fmt: skip
def test_a_rule_speaks_when_it_is_broken_and_only_then(rule: str, broken: dict, kept: dict) -> None:
    assert rule in rules(Reported(name="x", **broken))
    assert rules(Reported(name="x", **kept)) == []


@pytest.mark.parametrize("seed", range(4))
def test_figures_of_a_real_matrix_never_break_a_rule_however_they_are_printed(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(300):
        counts = Confusion(
            **dict(
                zip(
                    ("tp", "fn", "fp", "tn"),
                    rng.integers(1, rng.choice([5, 60, 4000]), 4).tolist(),
                    strict=True,
                )
            )
        )
        digits, values = int(rng.integers(1, 5)), recompute(counts)
        if rng.random() < 0.5:  # cut off in place of rounded
            values = {k: math.floor(v * 10**digits + 1e-9) / 10**digits for k, v in values.items()}
        printed: dict[str, Any] = {name: f"{values[name]:.{digits}f}" for name in METRICS}
        printed |= {"n_positive": counts.tp + counts.fn, "n_negative": counts.fp + counts.tn}
        assert check(Reported(name="whole", **vars(counts), **printed)) == []
        assert check(Reported(name="without counts", **printed)) == []


def test_accuracy_outside_both_is_found_with_its_side() -> None:
    high = Reported(name="x", sensitivity="88.5 %", specificity="77.8 %", accuracy="98.1 %")
    low = Reported(name="x", sensitivity="94.9 %", specificity="95.0 %", accuracy="94.7 %")
    assert "is above both" in check(high)[0].text
    assert "is below both" in check(low)[0].text


def test_a_wrong_figure_is_named_by_the_metric_that_it_equals() -> None:
    adasyn = Reported(name="adasyn", tp=10093, fn=1377, fp=124, tn=11346, sensitivity="0.89")
    (problem,) = check(adasyn)
    assert problem.text == (
        "reported sensitivity 0.89, but the counts give 0.8799; 0.89 equals the negative "
        "predictive value 0.8918"
    )


def one_hot(outputs: np.ndarray, classes: np.ndarray) -> Confusion:
    """What Keras counts over two outputs a cell."""
    import keras

    names = ("TruePositives", "FalseNegatives", "FalsePositives", "TrueNegatives")
    counters = [getattr(keras.metrics, name)() for name in names]
    for counter in counters:
        counter.update_state(np.eye(2)[classes], outputs)
    return Confusion(
        **dict(zip(("tp", "fn", "fp", "tn"), (int(c.result()) for c in counters), strict=True))
    )


def test_keras_counts_each_image_twice_over_two_outputs() -> None:
    rng = np.random.default_rng(0)
    classes = (rng.random(500) < 0.7).astype(int)
    sigmoids = rng.random((500, 2))
    counts = one_hot(sigmoids, classes)
    assert counts.tp + counts.fn == counts.fp + counts.tn == 500
    assert counts.fn != counts.fp
    low, high = both_outputs_right(counts)
    right = ((sigmoids > 0.5) == (np.eye(2)[classes] > 0)).all(axis=1).mean()
    assert low <= right <= high


def test_with_outputs_that_sum_to_one_all_four_figures_are_one() -> None:
    rng = np.random.default_rng(1)
    classes = (rng.random(400) < 0.7).astype(int)
    first = rng.random(400).astype(np.float32)
    counts = one_hot(np.stack([1 - first, first], axis=1), classes)
    nothing = np.full(400, "")
    assert counts == doubled(
        Predictions(labels=classes.astype(np.int8), scores=first, subjects=nothing, cell_id=nothing)
    )
    assert counts.tp == counts.tn
    values = recompute(counts)
    assert len({values[name] for name in METRICS}) == 1


@pytest.mark.parametrize(
    ("sizes", "fires"),
    [
        ({"n_positive": 350, "n_negative": 150}, True),  # 500 of each counted
        ({"at_most_positive": 400}, True),
        ({"n_positive": 500, "n_negative": 500}, False),  # a balanced side
        ({}, False),  # nothing is known that it would contradict
    ],
)
def test_equal_sums_are_suspect_only_where_single_cells_cannot_give_them(
    sizes: dict, fires: bool
) -> None:
    counts = {"tp": 450, "fn": 50, "fp": 30, "tn": 470}
    assert ("counted once" in rules(Reported(name="x", **counts, **sizes))) == fires


def test_sums_that_differ_are_not_the_mark_of_double_counting() -> None:
    reported = Reported(name="x", tp=450, fn=50, fp=30, tn=471, n_positive=350, n_negative=150)
    assert "counted once" not in rules(reported)
    assert "cells exist" in rules(reported)


def test_the_implied_share_holds_the_true_one_and_narrows_with_decimals() -> None:
    rng = np.random.default_rng(2)
    for _ in range(200):
        share, sens, spec = rng.random(3)
        if abs(sens - spec) < 0.05:
            continue
        acc = share * sens + (1 - share) * spec
        widths = []
        for digits in (2, 6):
            told = [f"{value:.{digits}f}" for value in (sens, spec, acc)]
            found = implied_share(
                Reported(name="x", sensitivity=told[0], specificity=told[1], accuracy=told[2])
            )
            if found:
                assert found[0] <= share <= found[1]
                widths.append(found[1] - found[0])
        assert widths == sorted(widths, reverse=True)


def test_no_share_is_implied_where_sensitivity_may_equal_specificity() -> None:
    assert implied_share(Reported(name="x", sensitivity=0.9, specificity=0.9, accuracy=0.9)) is None
    assert implied_share(Reported(name="x", sensitivity=0.9, accuracy=0.9)) is None


@pytest.mark.parametrize("cells", [1, 3, 7, 19, 99])
def test_possible_fractions_are_those_of_whole_numbers_of_cells(cells: int) -> None:
    for hundredth in range(101):
        printed = f"{hundredth / 100:.2f}"
        possible = any(agrees(printed, k / cells) for k in range(cells + 1))
        found = rules(Reported(name="x", sensitivity=printed, n_positive=cells))
        assert (found == []) == possible


def test_two_results_with_the_same_counts_or_figures_are_named_together() -> None:
    figures: dict[str, Any] = {"sensitivity": "0.99", "specificity": 0.9, "accuracy": "95 %"}
    results = [
        Reported(name="a", **GOOD), Reported(name="b", **GOOD),
        Reported(name="c", **GOOD | {"tp": 89}),
        Reported(name="d", **figures), Reported(name="e", **figures | {"accuracy": 0.95}),
        Reported(name="f", **figures | {"accuracy": 0.96}), Reported(name="g"), Reported(name="h"),
    ]  # fmt: skip
    assert [problem.name for problem in check_many(results)] == ["a, b", "d, e"]


def test_parts_that_do_not_sum_are_told_with_their_sum() -> None:
    (problem,) = check_sum("HEM", {"real": 2300, "made": 5028}, 7272)
    assert problem.text == "2,300 (real) + 5,028 (made) = 7,328, not 7,272"
    assert check_sum("HEM", {"real": 2300, "made": 4972}, 7272) == []


@pytest.mark.parametrize("share", [0.1, 0.2, 0.25, 0.3])
def test_split_sizes_given_as_classes_are_recognised(share: float) -> None:
    train, test = train_test_split(np.arange(9572), test_size=share, random_state=0)
    (problem,) = check_classes("classes", len(train), len(test))
    assert f"{1 - share:g} / {share:g} split of 9,572" in problem.text
    assert check_classes("classes", len(train), len(test) + 2) == []
    assert check_classes("C-NMC", 7272, 3389) == []


def test_printed_decimals_decide_what_agrees() -> None:
    assert span("0.89") == pytest.approx((0.885, 0.90))
    assert span("89.2 %") == pytest.approx((0.8915, 0.893))
    assert span("1.0") == pytest.approx((0.95, 1.0))
    assert span("100%") == pytest.approx((0.995, 1.0))
    assert span(0.25) == span("0.25")
    assert value_of("99.5 %") == 0.995


@pytest.mark.parametrize("printed", ["high", "", "nan", 89, "-0.1", "101 %", float("inf")])
def test_what_is_no_share_is_refused_with_how_to_write_it(printed: Any) -> None:
    with pytest.raises(UserError, match=r"write 0\.89, '0\.890' or '89 %'"):
        Reported(name="x", accuracy=printed)


def test_a_matrix_is_whole_or_absent() -> None:
    with pytest.raises(UserError, match="give all or none"):
        Reported(name="x", tp=1, fn=2)


def test_a_count_that_is_not_a_number_is_no_count() -> None:
    assert rules(Reported(name="x", **GOOD | {"tp": float("nan")})) == ["whole counts"]


def test_every_rule_is_described_and_of_its_kind() -> None:
    assert set(OF_SUMS) < set(RULES)
    broken = Reported(name="x", tp=1, fn=0, fp=0, tn=1, n_positive=0, n_negative=1, accuracy=0.5)
    assert {problem.rule for problem in check(broken)} <= set(RULES)
