"""The verdict on overfitting on hand-made histories, the thesis' descriptions among them."""

import math

import pytest

from leukemia.evaluation.overfitting import RULE, verdict_on


def history(validation: list[float], train: list[float] | None = None) -> list[dict[str, float]]:
    train = train or [1 / epoch for epoch in range(1, len(validation) + 1)]
    rows = zip(validation, train, strict=True)
    return [
        {"epoch": epoch, "val_loss": held_out, "train_loss": seen}
        for epoch, (held_out, seen) in enumerate(rows, 1)
    ]


def test_validation_loss_that_increases_from_the_5th_epoch_overfits_after_the_4th() -> None:
    # The thesis' section 4.5 on ADASYN: "validation loss started to increase at the 5th epoch
    # while training loss decreased consistently", in 3 + 9 epochs.
    adasyn = history([0.7, 0.6, 0.55, 0.5, 0.55, 0.6, 0.6, 0.65, 0.7, 0.7, 0.75, 0.85])
    verdict = verdict_on(adasyn)
    assert verdict.overfits is True
    assert verdict.epoch == 4
    assert verdict.rise == pytest.approx(0.8 - 0.5)
    assert verdict.fall == pytest.approx(1 / 4 - (1 / 11 + 1 / 12) / 2)
    assert verdict.text == (
        "overfits after epoch 4: validation loss rose by 0.300 (0.500 at epoch 4 to 0.800 at "
        "the end) while training loss fell by 0.163"
    )
    assert verdict_on(adasyn, fine_tune_from=4) == verdict


def test_a_rise_after_the_20th_of_30_epochs_overfits_as_the_thesis_says_of_its_dcgan() -> None:
    # "after the 20th epoch the model started to overfit", and yet: "the model did not overfit".
    falling = [1 - 0.04 * epoch for epoch in range(20)]
    verdict = verdict_on(history(falling + [0.3 + 0.02 * epoch for epoch in range(10)]))
    assert (verdict.overfits, verdict.epoch) == (True, 20)


@pytest.mark.parametrize(
    ("validation", "said"),
    [
        ([0.7, 0.6, 0.5], "lowest in the last epoch (0.500 at epoch 3)"),
        ([0.7, 0.5, 0.51, 0.52], "rose only by 0.015 (0.500 at epoch 2 to 0.515 at the end)"),
        ([0.5, 0.5, 0.5, 0.5], "rose only by 0.000"),
        ([0.7, 0.5, 0.51, 0.9], "one is near the lowest"),
        ([0.7, 0.5, 0.9, 0.51], "one is near the lowest"),
        ([0.7, 0.5, 0.9, 0.51, 0.5], "rose only by 0.005 (0.500 at epoch 2"),
        ([0.002, 0.001, 0.004, 0.008], "rose only by 0.005"),
    ],
    ids=["falls", "within 5 %", "flat", "last spikes", "spike before", "early spike", "near 0"],
)
def test_what_does_not_overfit_says_why(validation: list[float], said: str) -> None:
    verdict = verdict_on(history(validation))
    assert verdict.overfits is False
    assert verdict.text.startswith("does not overfit: ")
    assert said in verdict.text


def test_a_rise_of_both_losses_is_not_overfitting() -> None:
    verdict = verdict_on(history([0.5, 0.7, 0.9, 1.1], [0.4, 0.6, 0.8, 1.0]))
    assert verdict.overfits is False
    assert verdict.fall == pytest.approx(-0.5)
    assert "training loss did not fall" in verdict.text


def test_5_percent_is_the_border() -> None:
    assert verdict_on(history([1.0, 1.049, 1.049])).overfits is False
    assert verdict_on(history([1.0, 1.051, 1.051])).overfits is True


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_fewer_than_3_epochs_tell_nothing(epochs: int) -> None:
    verdict = verdict_on(history([0.5, 0.9][:epochs]))
    assert verdict.overfits is None
    assert verdict.epoch is None
    assert math.isnan(verdict.rise)
    assert verdict.text == f"cannot be told: {epochs} epochs count, at least 3 are needed"


def test_a_rise_in_the_last_epoch_alone_cannot_be_told_from_chance() -> None:
    verdict = verdict_on(history([0.7, 0.6, 0.5, 0.9]))
    assert verdict.overfits is None
    assert verdict.epoch == 3
    assert verdict.rise == pytest.approx(0.4)
    assert verdict.text.startswith("cannot be told: validation loss rose by 0.400")


def test_a_jump_where_the_backbone_is_thawed_is_not_overfitting() -> None:
    jumped = history([0.6, 0.5, 0.4, 0.9, 0.7, 0.6])
    assert verdict_on(jumped).overfits is True
    verdict = verdict_on(jumped, fine_tune_from=4)
    assert verdict.overfits is False
    assert verdict.text.endswith("fine-tuning never came back to the 0.400 of epoch 3, before it")


def test_overfitting_while_fine_tuning_is_found_though_the_jump_was_higher() -> None:
    verdict = verdict_on(history([0.6, 0.5, 0.4, 0.9, 0.45, 0.6, 0.7]), fine_tune_from=4)
    assert (verdict.overfits, verdict.epoch) == (True, 5)
    assert verdict.rise == pytest.approx(0.2)
    assert "never came back to the 0.400" in verdict.text


def test_what_fine_tuning_mends_is_no_longer_held_against_the_run() -> None:
    verdict = verdict_on(history([0.5, 0.6, 0.7, 0.4, 0.3, 0.25]), fine_tune_from=4)
    assert verdict.overfits is False
    assert "before it" not in verdict.text


def test_two_epochs_of_fine_tuning_tell_nothing_and_none_leaves_the_first_stage() -> None:
    rising = history([0.4, 0.5, 0.6, 0.7, 0.8])
    assert verdict_on(rising, fine_tune_from=4).overfits is None
    assert verdict_on(rising, fine_tune_from=6) == verdict_on(rising)


def test_the_rule_for_reports_states_its_numbers() -> None:
    assert "more than 5% (and 0.01) above its lowest" in RULE
    assert "fewer than 3 epochs" in RULE
