"""The thesis re-told: its numbers, what is wrong with them, and a report that is computed."""

import base64
import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from PIL import Image
from sklearn.model_selection import train_test_split

from entrypoints import thesis_report
from leukemia import RESEARCH_ONLY, techniques
from leukemia.data.sources import cnmc
from leukemia.errors import UserError
from leukemia.evaluation.reported import Reported, recompute
from leukemia.techniques import weighted
from leukemia.thesis import cited, claims, disputed, matrices, numbers, own, turns
from leukemia.thesis.document import Document, Paragraph, Section, Table, to_html, to_markdown
from leukemia.thesis.numbers import FIGURE_35, TECHNIQUES
from leukemia.thesis.report import Report, build
from tests.conftest import ROOT
from tests.service import chromium

BY_NAME = {each.name: each for each in TECHNIQUES}


@pytest.fixture(scope="module")
def report() -> Report:
    return build()


def own_runs(**others: object) -> pd.DataFrame:
    """Two techniques under both protocols; .25 and .125 of balanced accuracy apart."""
    rows = [
        {
            "technique": technique, "protocol": protocol, "runs": 2, "seeds": 2, "folds": 1,
            "cells": "90 cells (60 all, 30 hem) of 12 subjects; cnmc", "simulated_data": "",
            "budget": "equal", "image_size": 64, "note": "resnet50 is trained from scratch",
            "test_acc": value, "test_bal_acc": value, "test_bal_acc_lo": value - 0.1,
            "test_bal_acc_hi": value + 0.1, "test_wf1": value, "val_acc": value,
            **dict.fromkeys(own.COUNTED, 0.9375 if protocol == "thesis" else np.nan), **others,
        }
        for technique, protocol, value in (
            ("baseline", "thesis", 0.875), ("baseline", "subject", 0.625),
            ("dcgan", "thesis", 0.875), ("dcgan", "subject", 0.750),
        )
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_thesis_matrices_break_exactly_these_rules() -> None:
    found = matrices.problems(TECHNIQUES)
    assert [(p.name, p.rule) for p in found] == [
        ("dcgan", "cells exist"),
        ("dcgan", "cells exist"),
        ("dcgan", "counted once"),
        ("dcgan", "recomputed"),
        ("dcgan", "recomputed"),
        ("adasyn", "cells exist"),
        ("adasyn", "counted once"),
        ("adasyn", "accuracy between"),
        *[("adasyn", "recomputed")] * 4,
        ("weighted", "cells exist"),
        ("weighted", "cells exist"),
        ("weighted", "counted once"),
        ("weighted", "accuracy between"),
        *[("weighted", "recomputed")] * 3,
        ("adasyn, weighted", "matrix is its own"),
    ]
    texts = [problem.text for problem in found]
    assert "11,470 positive cells are counted, but at most 8,491 exist" in texts
    assert any("0.89 equals the negative predictive value 0.8918" in text for text in texts)
    assert any("0.99 equals the specificity 0.9892" in text for text in texts)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("dcgan", (0.9958, 0.9991, 0.9991, 0.9975)),
        ("adasyn", (0.8799, 0.9892, 0.9879, 0.9346)),
        ("weighted", (0.8799, 0.9892, 0.9879, 0.9346)),
    ],
)
def test_recomputed_figures_to_four_digits(name: str, values: tuple[float, ...]) -> None:
    counts = BY_NAME[name].reported.counts
    assert counts is not None
    found = recompute(counts)
    shown = [round(found[n], 4) for n in ("sensitivity", "specificity", "precision", "accuracy")]
    assert shown == list(values)


def test_the_impossible_rows_of_figure_35_are_three() -> None:
    assert claims.impossible(FIGURE_35) == ["Mohapatra", "Shafique", "Yu"]


def test_the_pool_and_its_two_cuts_give_the_matrix_to_the_image() -> None:
    counts = BY_NAME["dcgan"].reported.counts
    assert counts is not None
    kept, _ = train_test_split(np.arange(numbers.POOL), test_size=0.2, random_state=0)
    kept, _ = train_test_split(kept, test_size=0.3, random_state=0)
    assert numbers.POOL == 14_600
    assert len(kept) == counts.tp + counts.fn == counts.fp + counts.tn == 8_176


def test_the_verdict_is_the_reverse_of_the_order_by_validation() -> None:
    assert [each.name for each in matrices.verdict(TECHNIQUES)] == ["dcgan", "adasyn", "weighted"]
    assert [each.name for each in matrices.validated(TECHNIQUES)] == ["weighted", "adasyn", "dcgan"]
    assert matrices.compared(TECHNIQUES) == "the reverse of"


def test_the_settings_are_those_that_the_techniques_train_with() -> None:
    for each in TECHNIQUES:
        assert each.schedule == techniques.load(each.name).THESIS
    assert [each.schedule.epochs for each in TECHNIQUES] == [15, 30, 12, 15, 13]
    assert tuple(weighted.THESIS_WEIGHTS.values()) == numbers.WEIGHTS
    assert numbers.FILE_SIZE == cnmc.SIZE


def test_the_report_gives_the_arguments_in_numbers(report: Report) -> None:
    for told in (
        "**All 3 confusion matrices**",
        "break 5 of 9 rules in 20 places, and adasyn and weighted have the same four counts",
        "weighted 0.95, adasyn 0.94, dcgan 0.91: the reverse of the thesis' verdict",
        "**3 of the 8 rows** of its comparison with others (Mohapatra, Shafique, Yu)",
        "2 x 8,176 = 16,352 counts are more than the 14,600 images",
        "8,176 = 0.8 x 0.7 x 14,600, to the image",
        "2,300 (HEM) + 5,028 (made) = 7,328, not 7,272",
        "7,657 and 1,915 are to the cell the two sides of a 0.8 / 0.2 split of 9,572",
        "the same figures as Ghaderzadeh et al. 2022 (2.9)",
        "trains with 0.0001 in both stages; 1e-6 is a rate of adasyn and augmentation",
        "Epochs differ (15, 30, 12, 15 and 13)",
        "a ratio of 3.5 (4.6); the formula of section 2.6 gives 2.15",
        "an F1 of 0.886 to 0.926",
        "Not to be believed as reported: dcgan (specificity 0.995, accuracy 0.995)",
        RESEARCH_ONLY,
    ):
        assert told in report.markdown, told


def test_one_row_of_figures_1_to_3_breaks_the_accuracy_rule() -> None:
    (row,) = cited.broken()
    assert (row.reported.name, row.year, row.figure) == ("Ahmad", 2022, 2)
    assert cited.what_follows(row) == (
        "accuracy 96 % is above both sensitivity 0.76 and specificity 0.83, whose weighted mean "
        "it is; nor does the 72 % that it improved on lie between the two; its "
        "sensitivity, specificity and precision imply 0.79"
    )
    assert {each.figure for each in cited.CITED} == {1, 2, 3}


def test_the_readme_names_that_row_and_every_kind_of_claim() -> None:
    readme = " ".join((ROOT / "README.md").read_text().split())
    (row,) = cited.broken()
    assert "(one result cannot be: " in readme
    assert cited.problems(row)[0].split(", whose")[0] in readme
    for named in ("test set", "healthy cells", "overfitting", "hours"):
        assert named in readme.split("denies in another")[1].split(")")[0], named


def test_precision_implies_the_accuracy_of_a_matrix_to_the_digit() -> None:
    matrix = Reported(name="", tp=60, fn=20, fp=10, tn=30)
    assert matrix.counts is not None
    values = recompute(matrix.counts)
    three: dict[str, Any] = {
        name: repr(values[name]) for name in ("sensitivity", "specificity", "precision")
    }
    implied = cited.implied_accuracy(Reported(name="", **three))
    assert implied == pytest.approx(values["accuracy"])
    assert cited.implied_accuracy(Reported(name="", sensitivity="0.9", precision="0.9")) is None


def test_an_f1_that_precision_and_sensitivity_do_not_give_is_found() -> None:
    def row(f1: str) -> cited.Cited:
        of = Reported(name="a", sensitivity="0.50", precision="0.90")
        return cited.Cited(figure=1, year=2020, reported=of, f1=f1)

    assert not cited.problems(row("0.64"))
    (text,) = cited.problems(row("0.70"))
    assert text == "precision and sensitivity give an F1 of 0.637 to 0.654, not 0.70"


def test_each_claim_has_its_place_and_what_follows_in_numbers() -> None:
    made = {each.about: each for each in disputed.all_of(TECHNIQUES)}
    assert list(made) == ["Ahmad 2022", "The test set", "The healthy cells",
                          "dcgan did not overfit", "Fast, and with less memory"]  # fmt: skip
    assert all(each.place and each.says for each in made.values())
    for about, told in (
        ("The test set", "1,219 ALL and 648 HEM in both"),
        ("The test set", "no 20 % of the 10,661 training cells, which would be 2,132"),
        ("The test set", "`protocol=thesis_preliminary`"),
        ("The healthy cells", "1,089 HEM cells (32 %) are neither trained on nor tested"),
        ("The healthy cells", "about 743 would be ALL"),
        ("The healthy cells", "3.16 ALL to a HEM instead of 2.15"),
        ("dcgan did not overfit", "trained 10 of 30 epochs past the turn"),
        ("dcgan did not overfit", "baseline 11 of 15, adasyn 8 of 12, weighted 11 of 15"),
        ("Fast, and with less memory", "2.8 times the hours, 3 experiments 25.5 hours"),
    ):
        assert told in made[about].follows, told
    assert '"after the 20th epoch the model started to overfit"' in made[
        "dcgan did not overfit"
    ].says  # fmt: skip


def test_what_is_told_of_test_cells_names_the_preliminary_set_they_are(report: Report) -> None:
    lines = [line for line in report.markdown.splitlines() if f"{numbers.SPLIT_TEST:,}" in line]
    assert len(lines) > 2
    for line in lines:
        assert "preliminary set" in line, line


def test_epochs_of_overfitting_by_the_rule_as_far_as_the_text_goes() -> None:
    verdicts = {each.name: turns.by_the_rule(each) for each in TECHNIQUES}
    assert {name: each.epoch for name, each in verdicts.items() if each} == {
        "baseline": 6, "dcgan": 20, "adasyn": 4, "weighted": 6,
    }  # fmt: skip
    assert all(each.overfits for each in verdicts.values() if each)
    assert verdicts["augmentation"] is None


def test_a_turn_before_fine_tuning_is_told_apart_from_the_rules_epoch(report: Report) -> None:
    rows = {line.split(" | ")[0]: line for line in report.markdown.splitlines() if " + " in line}
    assert rows["| adasyn"].endswith(" | 4 | 4 | 8 of 12 |")
    assert rows["| weighted"].endswith(" | 4 | 6 | 9 of 15 |")
    assert rows["| augmentation"].endswith(" | not told | cannot be told | - |")
    assert "weighted: epoch 4 is of the transfer stage" in report.markdown
    assert "adasyn: epoch 4 is of the transfer stage" not in report.markdown


def test_the_thesis_own_text_and_figures_disagree_on_what_it_cites(report: Report) -> None:
    for told in (
        "Shafique 2018: accuracy 99.5 % in Figure 3, 96.1 % in Figure 35.",
        "DenseNet-121 the most effective network of Mondal et al. 2021, with a weighted precision "
        "of 82 % and an F1 of 83 %; in Figure 1 it has the lowest of 6.",
        "an accuracy of 96 % than their hybrid models; Figure 1 gives these 97 %.",
    ):
        assert told in report.markdown, told


def test_other_numbers_tell_another_story() -> None:
    """A thesis whose figures hold: none of the complaints about matrices is left."""
    sound = Reported(name="dcgan", tp=90, fn=10, fp=5, tn=45, sensitivity="0.90", accuracy="0.90")
    honest = replace(BY_NAME["dcgan"], reported=sound, val_accuracy="0.97")
    other = replace(
        BY_NAME["adasyn"],
        reported=Reported(name="adasyn", tp=80, fn=20, fp=5, tn=45, accuracy="0.83"),
        val_accuracy="0.93",
    )
    text = build(None, [honest, other], FIGURE_35[1:2]).markdown
    assert "**0 of the 2 confusion matrices**" in text
    assert "break 0 of 9 rules in 0 places." in text
    assert "dcgan 0.97, adasyn 0.93: the same as the thesis' verdict" in text
    assert "**0 of the 1 rows**" in text
    assert "No matrix bears the mark" in text
    assert "Not to be believed as reported: none" in text
    for gone in ("8,176", "16,352", "11,470", "8142", "0.9991", "Mohapatra", "weighted 0.95"):
        assert gone not in text, gone


@pytest.mark.parametrize("runs", [None, pd.DataFrame()], ids=["none", "empty"])
def test_without_own_runs_the_report_tells_how_to_make_them(runs: pd.DataFrame | None) -> None:
    made = build(runs)
    assert set(made.figures) == {"recomputed", "order"}
    assert made.markdown.count("`mlflow run . -e inflation -P data=PATH`") == 2
    assert "flatters by" not in made.markdown


def test_own_runs_stand_beside_each_other_with_what_the_protocol_adds() -> None:
    made = build(own_runs())
    assert set(made.figures) == {"recomputed", "order", "own_runs_1"}
    row = next(line for line in made.markdown.splitlines() if line.startswith("| baseline | 2"))
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "baseline", "2 / 2", "0.938", "0.875", "0.625", "0.875 \\[0.775,\u00a00.975]",
        "0.625 \\[0.525,\u00a00.725]", "+0.250", "0.875", "0.625",
    ]  # fmt: skip
    assert "0.125 to 0.250 more balanced accuracy than subjects kept apart" in made.markdown
    assert "are the same number" in made.markdown
    assert own.COMMAND not in made.markdown
    assert "DRAWN" not in made.markdown


def test_figures_counted_unlike_each_other_are_not_called_the_same() -> None:
    assert "are the same number" not in build(own_runs(thesis_sens=0.5)).markdown


@pytest.mark.parametrize(
    ("others", "named"),
    [
        (
            {"simulated_data": "drawn cells, seed 7"},
            "DRAWN CELLS (they say nothing about leukemia)",
        ),
        ({"cells": "90 cells of 12 subjects; table"}, "CELLS OTHER THAN C-NMC 2019"),
    ],
)
def test_runs_on_other_cells_are_named_so_wherever_they_are_shown(others: dict, named: str) -> None:
    text = build(own_runs(**others)).markdown
    summary, table = text.index("**Run here**"), text.index("## The same techniques")
    assert named in text[summary : text.index("\n", summary)]
    assert f"\n{named}: 90 cells" in text[table:]
    assert f"technique by protocol; {named}" in text[table:]


def test_runs_on_different_terms_are_shown_apart() -> None:
    both = pd.concat([own_runs(), own_runs(image_size=210)])
    made = build(both)
    assert {"own_runs_1", "own_runs_2"} < set(made.figures)
    assert "budget equal, 64 px" in made.markdown
    assert "budget equal, 210 px" in made.markdown


def test_a_technique_under_one_protocol_adds_nothing_and_keeps_its_row() -> None:
    text = build(own_runs().query("protocol == 'subject'")).markdown
    assert "no technique has been run under both protocols yet" in text
    assert "| dcgan | - / 2 | - | - | 0.750 |" in text


def test_own_runs_that_lack_a_column_or_repeat_are_refused() -> None:
    with pytest.raises(UserError, match=r"lack the column\(s\) test_wf1"):
        build(own_runs().drop(columns="test_wf1"))
    with pytest.raises(UserError, match="baseline under protocol thesis have several rows"):
        build(pd.concat([own_runs(), own_runs()]))


class Tags(HTMLParser):
    """Whether every tag is closed, and what the page loads."""

    ALONE = ("meta", "img")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in self.ALONE:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_whole_and_loads_nothing() -> None:
    made, tags = build(own_runs()), Tags()
    tags.feed(made.html)
    assert tags.open == []
    assert len(tags.loaded) == len(made.figures)
    for source, picture in zip(tags.loaded, made.figures.values(), strict=True):
        kind, _, coded = source.partition(",")
        assert kind == "data:image/png;base64"
        shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(coded))))
        np.testing.assert_array_equal(shown, picture)
    assert not re.search(r"@import|url\(|<script|<link", made.html)


def test_page_and_markdown_say_the_same(report: Report) -> None:
    plain = re.sub(r"<style>.*?</style>|<[^>]+>", " ", report.html, flags=re.DOTALL)
    for number in re.findall(r"\d+[\d.,]*\d", re.sub(r"\(\w+\.png\)", "", report.markdown)):
        assert number in plain, number


def test_a_document_keeps_signs_that_mean_something_elsewhere() -> None:
    table = Table(
        caption="c", head=("a|b", "x<y"), rows=(("1 < 2", "`a|b` & **c**"),), marked=frozenset({0})
    )
    document = Document(
        title="t",
        subtitle="s",
        sections=(Section(title="h", blocks=(Paragraph(text="p < q"), table)),),
        foot=("f",),
    )
    page = to_html(document, {})
    assert "p &lt; q" in page
    assert "<code>a|b</code> &amp; <strong>c</strong>" in page
    assert '<tr class="marked"><th scope="row">1 &lt; 2</th>' in page
    text = to_markdown(document)
    assert "| a\\|b | x&lt;y |" in text
    assert "| 1 &lt; 2 | `a\\|b` &amp; **c** |" in text


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_fits_a_telephone_and_a_desk(tmp_path: Path, width: int) -> None:
    from playwright.sync_api import sync_playwright

    if chromium() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    page = thesis_report.write(build(own_runs()), tmp_path)[0]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": width, "height": 900})
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 600)")
        browser.close()


def test_the_command_writes_page_text_and_pictures_without_a_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in thesis_report.STORES:
        monkeypatch.delenv(name, raising=False)
    done = CliRunner().invoke(thesis_report.main, ["--out", "told"])
    assert done.exit_code == 0, done.output
    assert {path.name for path in (tmp_path / "told").iterdir()} == {
        "thesis_report.html", "thesis_report.md", "recomputed.png", "order.png",
    }  # fmt: skip
    assert not (tmp_path / "mlflow.db").exists()
    text = (tmp_path / "told/thesis_report.md").read_text()
    for picture in re.findall(r"\]\((\w+\.png)\)", text):
        assert (tmp_path / "told" / picture).exists()
