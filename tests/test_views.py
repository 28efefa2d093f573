"""Saved views are pure functions; what MLflow makes of them is seen in test_service."""

from leukemia.evaluation.metrics import METRICS
from leukemia.tracking import leaderboard, views
from leukemia.tracking.views import Card, Section


def test_a_view_reads_back_as_it_was_written() -> None:
    value = views.table_view("Ranking", "tags.kind = 'summary'", "rank", ["rank", "val_bal_acc"])
    name, state = views.decode(value)
    assert name == "Ranking"
    assert state["searchFilter"] == "tags.kind = 'summary'"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`rank`", True)
    assert state["selectedColumns"] == ["metrics.`rank`", "metrics.`val_bal_acc`"]
    assert state["columnOrder"][2:4] == state["selectedColumns"]
    assert value == views.table_view(
        "Ranking", "tags.kind = 'summary'", "rank", ["rank", "val_bal_acc"]
    )


def test_what_has_no_card_is_kept_away() -> None:
    page = [
        Section(
            name="Curves",
            cards=(Card(kind="line", keys=("a", "b")), Card(kind="images", keys=("picture",))),
        )
    ]
    _, state = views.decode(
        views.charts_view("C", "", "a", page, {"a", "b", "c"}, ["picture", "x"])
    )
    cards = {(card["type"], *card.get("imageKeys", [card.get("metricKey")])): card["deleted"]
             for card in state["compareRunCharts"]}  # fmt: skip
    assert cards == {
        ("LINE", "a"): False, ("IMAGE", "picture"): False,
        ("BAR", "b"): True, ("BAR", "c"): True, ("IMAGE", "x"): True,
    }  # fmt: skip


def test_views_fit_into_a_tag_with_every_metric_that_is_logged() -> None:
    metrics = {f"{side}_{n}" for side in ("train", "val", "test") for n in METRICS}
    metrics |= {f"system/gpu_{n}_{kind}" for n in range(8) for kind in "abcdef"}
    page = leaderboard.sections({*metrics, "gan_g_loss"}, ["confusion_test"] * 20, 1000)
    assert len(views.charts_view("C", "", "a", page, metrics, ["confusion_test"])) < 20_000


def test_sections_leave_out_what_no_run_has() -> None:
    names = [section.name for section in leaderboard.sections({"val_loss"}, ["confusion_test"], 0)]
    assert "Confusion matrices on test cells" in names
    assert not [name for name in names if "GAN" in name or "Made" in name]


def test_links_carry_no_filter_of_their_own() -> None:
    link = views.address("http://host:5000/", "7", "ranking", charts=True)
    assert link == (
        "http://host:5000/#/experiments/7/runs?viewStateShareKey=ranking"
        "&workflowType=machine_learning&compareRunsMode=CHART"
    )
