"""Names that would be markup, formulas, commands or pages stay text in all that is written.

One project is trained, ranked, registered and told of on cells whose classes, subjects and files
bear such names, and everything that it leaves is looked at, pages in a real browser.
"""

import csv
import io
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from entrypoints import console
from leukemia.cells import Cells
from leukemia.data import names
from leukemia.data.geometry import Geometry
from leukemia.data.index import open_index
from leukemia.data.named import image_files, refuse_name
from leukemia.data.options import DataOptions
from leukemia.errors import UserError
from leukemia.evaluation import plots
from leukemia.evaluation.by_subject import by_subject, worst
from leukemia.evaluation.calibration import reliability
from leukemia.evaluation.metrics import confusion
from leukemia.evaluation.predictions import Predictions
from leukemia.experiment import class_plots
from leukemia.ranking.inflation import by_protocol
from leukemia.registry.card import card
from leukemia.splits.protocol import SPLITS
from leukemia.text import spreadsheet
from leukemia.text.escape import code_block, html, markdown, visible
from leukemia.thesis.report import build
from leukemia.tracking import records
from tests.conftest import ROOT, write_table
from tests.service import NO_ASSISTANT, OFFLINE, chromium, free_port, running, wait_for
from tests.test_card import logged
from tests.test_thesis import own_runs

EVIL = "evil.example"
# Each is a legal name, and at most 100 characters long.
NAMES = (
    f"<img src=http://{EVIL}/a.png onerror=\"document.title='ran'\">",
    "<script>document.title='ran'</script>",
    f"![p](http://{EVIL}/p.png)",
    f"[approved](http://{EVIL}/l)",
    f"http://{EVIL}/x www.{EVIL} <http://{EVIL}>",
    "# APPROVED FOR DIAGNOSIS",
    "</code></td></tr></table><h1>APPROVED</h1>",
    "**bold** _it_ __it__ `code` ``c`` ~~gone~~ ~h~",
    "one | two | three",
    r"\| back \slash \*no\* \<b\>",
    "&lt;b&gt; &amp; &#42; &copy",
    r"$\frac{$ $x^2$ $$",
    "@everyone :tada: a@b.example",
    f'=HYPERLINK("http://{EVIL}/h","open")',
    "+1+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(1)",
    "'=1+1",
    "''-1",
    "a;=1+1,\"=2;'=3",
    '"=1+1"',
    "-1",
    "+1.5",
    "007",
    "NA",
    "null",
    "_nolegend_",
    "1. first",
    "- item",
    "> quote",
    "---",
    "===",
)
POSITIVE = (
    f"<img src=http://{EVIL}/a onerror=\"document.title='ran'\">| # ![p](http://{EVIL}/p)|*_`$x$"
)
NEGATIVE = f'=HYPERLINK("http://{EVIL}/h")$\\frac{{$</td><h1>APPROVED</h1>[a](http://{EVIL})'
UNPRINTABLE = ("\x1b[31mred", "a\x00b", "a\nb", "a\tb", "a\u202egnp.exe", "a\u200bb", "a\u2028b")


# The escapes


class Shown(HTMLParser):
    """The tags of a page and the text that a reader sees of it."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


# Readers of Markdown: without HTML as the page of `serve` has it, and with.
READERS = [MarkdownIt("js-default"), MarkdownIt("commonmark").enable(["table", "strikethrough"])]
PLACES = ("Named {} here.", "- item {}", "**{}.**", "| head | b |\n|---|---|\n| cell {} | {} |")


def random_names() -> Iterator[str]:
    chance = random.Random(5)
    for _ in range(1500):
        marks = chance.choices("""\\`*_{}[]()<>#+-.!|~&;:'"=@$ab1w/ """, k=chance.randrange(1, 14))
        if name := "".join(marks).strip():
            yield name


@pytest.mark.parametrize("reader", READERS, ids=["js-default", "commonmark"])
@pytest.mark.parametrize("place", PLACES)
def test_markdown_shows_every_name_as_it_is(reader: MarkdownIt, place: str) -> None:
    plain = Shown(reader.render(place.replace("{}", "name")))
    for name in (*NAMES, *random_names()):
        shown = Shown(reader.render(place.replace("{}", markdown(name))))
        assert shown.tags == plain.tags, name
        assert shown.text == plain.text.replace("name", name)


def test_html_shows_every_name_as_it_is_in_a_text_and_in_an_attribute() -> None:
    for name in (*NAMES, *random_names()):
        page = Shown(f"<p title=\"{html(name)}\" alt='{html(name)}'>{html(name)}</p>")
        assert page.tags == ["p"]
        assert page.text == name


def test_a_block_of_code_ends_with_its_own_lines_only() -> None:
    text = "a\n```\n# APPROVED\n\n</code></pre><h1>APPROVED</h1>\n~~~\r\n| a |\x1b[2J"
    for reader in READERS:
        page = Shown(reader.render(f"Before:\n\n{code_block(text)}\n\nafter"))
        assert page.tags == ["p", "pre", "code", "p"]
        assert [line for line in page.text.splitlines() if line][1:-1] == [
            "a", "```", "# APPROVED", "</code></pre><h1>APPROVED</h1>", "~~~", r"| a |\x1b[2J",
        ]  # fmt: skip


def test_what_cannot_be_seen_is_shown_and_what_can_is_left_alone() -> None:
    assert visible("\x1b[31m\u202e\n\x00\udce9") == r"\x1b[31m\u202e\n\x00\udce9"
    for name in (*NAMES, "Ärztin 7", "白血病", "µ ±\u00a0…"):
        assert visible(name) == name


def cells_of(text: str) -> Iterator[str]:
    """Every cell of a CSV file as spreadsheets part it, at commas or at semicolons.

    Where it is parted at semicolons, a cell may begin with a number and go on with commas, and a
    quotation mark within a name may join lines.
    """
    for row in csv.reader(io.StringIO(text, newline="")):
        yield from row
    for row in csv.reader(io.StringIO(text, newline=""), delimiter=";"):
        for cell in row:
            yield re.sub(r"^\n*[-+]?[\d.]+(e[-+]?\d+)?,", "", cell).lstrip("\n")


def assert_computes_nothing(text: str) -> None:
    for cell in cells_of(text):
        if not re.fullmatch(r"[-+]?\d[\d.]*(e[-+]?\d+)?", cell):
            assert not re.match(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]", cell), cell


def test_a_spreadsheet_computes_nothing_and_every_name_is_read_back(tmp_path: Path) -> None:
    texts = [*NAMES, *random_names(), "\t=1", "\r=1", "\uff1d1", "x;\t+1", "",
             *("".join(each) for each in product("=-';\",1\t", repeat=4))]  # fmt: skip
    table = pd.DataFrame({"number": np.linspace(-1, 1, len(texts)), "name": texts})
    (tmp_path / "t.csv").write_text(spreadsheet.as_csv(table), encoding="utf-8", newline="")
    assert_computes_nothing(spreadsheet.as_csv(table))
    again = spreadsheet.read(tmp_path / "t.csv", ("name", "not there"))
    assert again["name"].tolist() == texts
    assert again["number"].tolist() == pytest.approx(table["number"].tolist())
    assert len({spreadsheet.cell(text) for text in texts}) == len(set(texts))


def test_numbers_and_ordinary_names_are_written_as_they_are() -> None:
    for text in ("-1", "+1.5", "007", "NA", "cell 1.png", "a-b", "it's", "'quoted'", "2026-01-01"):
        assert spreadsheet.cell(text) == text
    assert spreadsheet.as_csv(pd.DataFrame({"x": [-0.5], "y": [True]})) == "x,y\n-0.5,True\n"


def test_nothing_reaches_a_terminal_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("a \x1b]0;title\x07", "b\nc\rd", err=True)
    assert capsys.readouterr().err == "a \\x1b]0;title\\x07\nb\\nc\\rd\n"
    assert str(UserError("no \x1b[2J\n'x'")) == r"no \x1b[2J\n'x'"


ELSEWHERE = {
    # What escapes by itself, reads or writes tables, prints or draws -> where alone it may stand.
    r"(?m)^ *(import html|from html|from xml)\b|&amp;|&lt;": {"leukemia/text/escape.py"},
    r"\.to_csv\(": {
        "leukemia/text/spreadsheet.py",
        "leukemia/data/files.py",  # a cache that this program alone reads
    },
    r"\bimport csv\b": {
        "leukemia/data/sample.py",  # writes C-NMC's own list, of drawn names
        "leukemia/data/sources/rows.py",  # of the user
    },
    r"\bread_csv\(": {
        "leukemia/text/spreadsheet.py",
        "leukemia/data/files.py",
        *(f"leukemia/data/{each}.py" for each in ("sources/cnmc", "manifest")),  # of the user
    },
    r"\bclick\.s?echo\b": {"entrypoints/console.py"},
    r"\bprint\(|std(out|err)\.write": set(),
    r"FigureCanvas|savefig|\.draw\(\)": {"leukemia/evaluation/plots.py"},
    r"to_html\(.*escape": {"leukemia/evaluation/error_page.py"},
    r"MarkdownIt": {"leukemia/serving/server.py"},
}


@pytest.mark.parametrize("pattern", ELSEWHERE)
def test_no_second_place_escapes_writes_or_prints_by_itself(pattern: str) -> None:
    files = [*(ROOT / "leukemia").rglob("*.py"), *(ROOT / "entrypoints").rglob("*.py")]
    places = {
        path.relative_to(ROOT).as_posix()
        for path in files
        if re.search(pattern, path.read_text(encoding="utf-8"))
    }
    assert places == ELSEWHERE[pattern]


# The index


def listing(folder: Path, **changed: str) -> Path:
    """A list of four cells, one value of its first row changed."""
    rows = [(f"{n}.png", "ab"[n % 2], f"S{n}") for n in range(4)]
    frame = pd.DataFrame(rows, columns=["path", "label", "subject"])
    for column, value in changed.items():
        frame.loc[0, column] = value
    for path in frame["path"]:
        if all(len(part) < 250 and "\0" not in part for part in path.split("/")):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(path.encode())
    frame.to_csv(folder / "index.csv", index=False)
    return folder


@pytest.mark.parametrize("column", names.LONGEST)
@pytest.mark.parametrize("name", [*UNPRINTABLE, "x" * 101, "y" * 1001])
def test_a_name_that_cannot_be_printed_is_refused_in_one_line(
    tmp_path: Path, column: str, name: str
) -> None:
    folder = listing(tmp_path, **{column: name})
    if len(name) <= names.LONGEST[column] and name.isprintable():
        assert open_index(folder, DataOptions(positive="b")).frame[column].str.len().max() == len(
            name
        )
        return
    with pytest.raises(UserError, match=f"{column} '.*' has .*; expected up to") as caught:
        open_index(folder, DataOptions(positive="b"))
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", NAMES)
def test_a_printable_name_is_taken_as_it_is(tmp_path: Path, name: str) -> None:
    folder = listing(tmp_path, path=f"{name}.png", subject=name)
    index = open_index(folder, DataOptions(positive="b"))
    row = index.frame[index.frame["path"] == f"{name}.png"]
    assert row["subject"].tolist() == [name]


def test_a_list_that_is_no_list_is_told_of_in_few_words(tmp_path: Path) -> None:
    (tmp_path / "index.csv").write_text(",".join(f"\x1bcolumn{n}" for n in range(9999)) + "\n1\n")
    with pytest.raises(UserError, match=r"no column 'path' among \\x1bcolumn0, .* and 9994 more"):
        open_index(tmp_path)


def test_a_marker_of_drawn_cells_that_is_broken_is_named(tmp_path: Path) -> None:
    for fold, name in ((0, "all/UID_1_1_1_all"), (1, "hem/UID_H2_1_1_hem")):
        path = tmp_path / f"fold_{fold}" / f"{name}.bmp"
        path.parent.mkdir(parents=True)
        path.write_bytes(name.encode())
    marker = tmp_path / "SIMULATED.json"
    marker.write_text(json.dumps({"kind": "\x1b[31mdrawn" + "!" * 999, "seed": 7}))
    assert open_index(tmp_path).simulated == r"\x1b[31mdrawn" + "!" * 87 + ", seed 7"
    for broken in ("[]", "{", '{"kind": "drawn"}', '{"kind": "drawn", "seed": "x\\n"}'):
        marker.write_text(broken)
        with pytest.raises(UserError, match="does not tell kind and seed"):
            open_index(tmp_path)


def test_predict_takes_no_file_whose_name_cannot_be_printed(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m.png").touch()
    (file,) = image_files([tmp_path]).files
    with pytest.raises(UserError, match=r"its name has the character U\+001B"):
        refuse_name(file)


# Files that a list leads to


def elsewhere(folder: Path) -> dict[str, str]:
    """Paths that leave a folder, each of a kind, beside the plain one of the same cell."""
    away = folder.parent / "away"
    away.mkdir()
    (folder / "deep").mkdir()
    for name in ("absolute.png", "climbs.png", "linked.png", "in_linked.png"):
        (away / name).write_bytes(name.encode())
    (folder / "linked.png").symlink_to(away / "linked.png")
    (folder / "door").symlink_to(away)
    return {
        str(away / "absolute.png"): "absolute.png",
        "deep/../../away/climbs.png": "climbs.png",
        "linked.png": "linked.png",
        "door/in_linked.png": "in_linked.png",
    }


def write_list(folder: Path, paths: list[str]) -> None:
    rows = [(path, "ab"[n % 2], f"S{n}") for n, path in enumerate(paths)]
    pd.DataFrame(rows, columns=["path", "label", "subject"]).to_csv(
        folder / "index.csv", index=False
    )


def test_files_from_elsewhere_are_counted_and_named_and_change_no_digest(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    away = elsewhere(folder)
    (folder / "plain.png").write_bytes(b"plain")
    write_list(folder, ["plain.png", *away])
    index = open_index(folder, DataOptions(positive="b"))
    assert index.outside.startswith("4 of 5 files lie outside the data's folder (absolute path,")
    assert index.outside.endswith(" and 1 more")
    assert index.outside.isprintable()
    (tmp_path / "copied").mkdir()
    for path, name in {"plain.png": "plain.png", **away}.items():
        (tmp_path / "copied" / name).write_bytes((folder / path).read_bytes())
    write_list(tmp_path / "copied", ["plain.png", *away.values()])
    copied = open_index(tmp_path / "copied", DataOptions(positive="b", strict_paths=True))
    assert (copied.digest, copied.outside) == (index.digest, "")
    assert copied.describe() == index.describe()


def test_strict_paths_refuse_each_kind_before_a_file_is_looked_at(tmp_path: Path) -> None:
    folder = tmp_path / "cells"
    folder.mkdir()
    (folder / "plain.png").write_bytes(b"plain")
    (folder / "link to the list").mkdir()
    for path in (*elsewhere(folder), "/no/such/file", "../none"):
        write_list(folder, ["plain.png", path])
        with pytest.raises(UserError, match=r"1 of 2 files lie outside .*; strict_paths=true"):
            open_index(folder, DataOptions(positive="b", strict_paths=True))
    (folder / "index.csv").rename(tmp_path / "secret.csv")
    (folder / "index.csv").symlink_to(tmp_path / "secret.csv")
    with pytest.raises(UserError, match=r"or link\): index.csv; strict_paths=true"):
        open_index(folder, DataOptions(positive="b", strict_paths=True))
    named = folder / "link to the list/mine.csv"  # the user's own choice is no link of the list's
    (folder / "link to the list/plain.png").write_bytes(b"plain")
    (folder / "link to the list/other.png").write_bytes(b"other")
    write_list(folder / "link to the list", ["plain.png", "./other.png"])
    named.symlink_to(folder / "link to the list/index.csv")
    assert open_index(named, DataOptions(positive="b", strict_paths=True)).outside == ""


def test_links_in_a_tree_of_c_nmc_are_named_and_refused_alike(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for name in ("fold_0/all/UID_1_1_1_all.bmp", "fold_1/hem/UID_H2_1_1_hem.bmp"):
        (tree / name).parent.mkdir(parents=True)
        (tree / name).write_bytes(name.encode())
    assert open_index(tree, DataOptions(strict_paths=True)).outside == ""
    (tmp_path / "secret").write_bytes(b"s")
    (tree / "fold_0/all/UID_1_1_2_all.bmp").symlink_to(tmp_path / "secret")
    assert open_index(tree).outside.startswith("1 of 3 files lie outside")
    with pytest.raises(UserError, match=r"UID_1_1_2_all\.bmp; strict_paths=true"):
        open_index(tree, DataOptions(strict_paths=True))


# Figures


def small(value: str) -> Predictions:
    named = np.array([value] * 4 + ["other"] * 4)
    return Predictions(
        labels=np.array([1] * 4 + [0] * 4, np.int8),
        scores=np.linspace(0.2, 0.8, 8, dtype=np.float32),
        subjects=named,
        cell_id=named,
    )


def pictures(name: str, cells: Cells) -> list[np.ndarray]:
    """Every figure that a name stands in, as a class', a subject's and a file's."""
    test, images = small(name), np.asarray(cells.images)[:8]
    shown = Cells(images=images, labels=test.labels, subjects=test.subjects, cell_id=test.cell_id)
    filled = reliability(test.labels, test.scores)
    counts = [(split, each, 2, 0, 0, 2, 0.5) for split in SPLITS for each in (name, "n")]
    example = class_plots.Example(name=name, raw=images[0], cropped=images[0])
    return [
        class_plots.counts_figure(pd.DataFrame(counts, columns=class_plots.COLUMNS), "t", name),
        class_plots.examples_figure([[example], []], Geometry(crop=32), "t", name),
        plots.confusion_figure(confusion(test.labels, test.scores), name, "n", name, name),
        plots.roc_pr_figure(test.labels, test.scores, name, "t", name),
        plots.reliability_figure(filled, filled, 1.0, name, "t", name),
        plots.subjects_figure(worst(by_subject(test), 9), name, "n", "t", name),
        plots.gradcam_figure(
            shown, test.scores, np.ones((8, 32, 32)), (2, 2), (name, "n"), "t", name
        ),
        plots.real_and_made_figure(images, images, name, name, name),
    ]


def test_every_name_is_drawn(cells: Cells) -> None:
    for name in (POSITIVE, NEGATIVE, r"$\frac{$", r"\$x$", "$$$"):
        assert all(picture.ndim == 3 for picture in pictures(name, cells)), name


def test_a_name_is_drawn_as_it_is_and_not_as_a_formula() -> None:
    def titled(text: str) -> np.ndarray:
        figure = Figure((3, 1))
        figure.suptitle(text)
        return plots.drawn(figure)

    assert (titled(r"$\mathregular{}$") != titled("")).any()  # as a formula it is nothing


def test_a_class_whose_name_begins_with_an_underscore_has_its_place_in_the_legend() -> None:
    table = worst(by_subject(small("S")), 9)
    with_name, without = (
        plots.subjects_figure(table, name, "n", "t", "f") for name in ("_blast", "       ")
    )
    assert (with_name != without).any()


def test_powers_of_ten_on_an_axis_stay_formulas() -> None:
    def logarithmic() -> Figure:
        figure = Figure((3, 3))
        figure.add_subplot().semilogy([1, 1e5])
        return figure

    canvas = FigureCanvasAgg(logarithmic())
    canvas.draw()
    plain = np.asarray(canvas.buffer_rgba())[..., :3]
    np.testing.assert_array_equal(plots.drawn(logarithmic()), plain)


# Texts of a run that anybody may have logged


@pytest.mark.parametrize("reader", READERS, ids=["js-default", "commonmark"])
def test_whatever_a_tag_holds_the_card_keeps_its_headings_tables_and_words(
    reader: MarkdownIt,
) -> None:
    plain = Shown(reader.render(card(logged())))
    for name in (*NAMES, POSITIVE, NEGATIVE, "a\n\n# APPROVED\n```\n", "\x1b[2J"):
        run = logged()
        hostile = dict.fromkeys(run.tags, name) | {"simulated_data": ""}
        subjects = run.subjects.assign(subject=name)
        page = Shown(reader.render(card(type(run)(
            run_id="run1", tags=hostile, metrics=run.metrics, subjects=subjects
        ))))  # fmt: skip
        assert page.tags == plain.tags, name
        assert page.text.count(visible(name)) > 15


def test_whatever_runs_say_of_themselves_the_thesis_report_shows_it_as_text() -> None:
    plain = build(own_runs())
    for name in (" ".join(NAMES[:8]), " ".join(NAMES[8:]), POSITIVE, NEGATIVE):
        hostile = build(own_runs(cells=name, note=f"x {name}"))
        for before, after in ((plain.html, hostile.html), (plain.markdown, hostile.markdown)):
            reader = READERS[1].render if before is plain.markdown else str
            page, usual = Shown(reader(after)), Shown(reader(before))
            assert page.tags == usual.tags, name
            assert name in page.text.replace("\xa0", " ")
    assert "OTHER THAN C-NMC" in build(own_runs(cells="9 cells (4 cnmc, 5 b); table")).markdown


# One project with such names throughout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, cells: Cells) -> Path:
    """A folder in which a study and an inflation were run, and the report written; `said` is what
    they printed."""
    folder = tmp_path_factory.mktemp("hostile")
    data = folder / "cells"
    data.mkdir()
    write_table(data, cells)
    frame = pd.read_csv(data / "index.csv", dtype=str)
    files = [f"{n:02d}{NAMES[n % len(NAMES)]}".replace("/", "") for n in range(len(frame))]
    files[:3] = [f"{start}{n}.png" for n, start in enumerate("=-+")]
    for old, new in zip(frame["path"], files, strict=True):
        (data / old).rename(data / new)
    (folder / "linked.png").write_bytes((data / files[5]).read_bytes())
    (data / files[5]).unlink()
    (data / files[5]).symlink_to(folder / "linked.png")
    subjects = dict(zip(frame["subject"].unique(), ("-1", "NA", *NAMES), strict=False))
    frame = frame.assign(
        path=files,
        label=frame["label"].map({"blast": POSITIVE, "normal": NEGATIVE}),
        subject=frame["subject"].map(subjects),
    )
    frame.to_csv(data / "index.csv", index=False)
    words = ["--data", "cells", "--positive", POSITIVE, "--backbone", "miniature", "--crop", "0",
             "--image-size", "32", "--budget", "quick", "--seeds", "0",
             "--test-folds", "0"]  # fmt: skip
    said = command(
        folder, "study", *words, "--techniques", "baseline,augmentation", "--gain", "any"
    )
    said += command(
        folder, "inflation", *words, "--techniques", "baseline", "--protocols", "subject,thesis"
    )
    said += command(folder, "predict", *(f"cells/{name}" for name in files[:3]), "--csv", "p.csv")
    said += command(folder, "audit", "--data", "cells", "--positive", POSITIVE, "--crop", "0",
                    "--out", "audit")  # fmt: skip
    said += command(folder, "thesis_report", "--out", "told", "--experiment", "leukemia")
    (folder / "said").write_text(said)
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
        "LEUKEMIA_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
    }


def command(folder: Path, name: str, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", f"entrypoints.{name}", *words],
        cwd=folder, env=os.environ | environment(folder), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1) if name == "audit" else done.returncode == 0, done.stderr
    return done.stdout


def client(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri=environment(folder)["MLFLOW_TRACKING_URI"])


def runs_of(folder: Path, kind: str) -> list[Any]:
    there = client(folder)
    experiment = there.get_experiment_by_name("leukemia")
    return list(there.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'"))


def artifacts(folder: Path, ending: str) -> dict[str, Path]:
    """Everything of that ending that the project left, by its path."""
    paths = [*(folder / "mlruns").rglob(f"*{ending}"), *(folder / "told").glob(f"*{ending}"),
             *(folder / "audit").glob(f"*{ending}"), *folder.glob(f"*{ending}")]  # fmt: skip
    return {str(path.relative_to(folder)): path for path in paths}


@contextmanager
def browsing(asked: list[str]) -> Iterator[Any]:
    """A tab of a real browser; `asked` takes the address of everything that is fetched."""
    from playwright.sync_api import sync_playwright

    if chromium() is None:
        pytest.skip("no chromium, chromium-browser or google-chrome on PATH")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=OFFLINE)
        context = browser.new_context(viewport={"width": 1600, "height": 1200})
        context.add_init_script(NO_ASSISTANT)
        context.on("request", lambda request: asked.append(request.url))
        yield context.new_page()
        browser.close()


MARKUP = f"""() => [
  ...document.querySelectorAll('[src*="{EVIL}"], [href*="{EVIL}"], [onerror]'),
  ...[...document.querySelectorAll('h1, h2, h3')].filter(e => e.innerText.includes('APPROVED')),
].map(e => e.outerHTML)"""


SHOWS = """([name, begins]) => [...document.querySelectorAll(begins ? 'p' : 'body')].some(
  e => e.innerText.startsWith(begins) && e.innerText.replaceAll('\\u00a0', ' ').includes(name))"""


def assert_is_text(tab: Any, asked: list[str]) -> None:
    assert tab.evaluate(MARKUP) == []
    assert tab.title() != "ran"
    assert not [url for url in asked if EVIL in url.split("?")[0]]


def test_what_was_printed_is_text(project: Path) -> None:
    said = (project / "said").read_text()
    assert all(line.isprintable() for line in said.splitlines())
    assert POSITIVE in said
    assert "1 of 90 files lie outside the data's folder" in said


def test_pages_run_nothing_and_fetch_nothing(project: Path) -> None:
    pages, asked = artifacts(project, ".html"), list[str]()
    assert {Path(name).name for name in pages} == {"errors.html", "thesis_report.html"}
    with browsing(asked) as tab:
        for path in pages.values():
            tab.goto(path.as_uri())
            assert_is_text(tab, asked)
            shown = tab.evaluate("document.body.innerText")
            assert POSITIVE in shown
            assert "APPROVED" in shown
            if path.name == "errors.html":
                assert f"probability of {POSITIVE}" in tab.locator("th").all_inner_texts()
                rows = tab.locator("tbody tr").all_inner_texts()
                tab.locator("th").first.click()
                assert tab.locator("tbody tr").all_inner_texts() != rows or len(rows) < 2
    assert {url.split(":")[0] for url in asked} <= {"file", "data"}


def test_a_name_that_got_through_would_still_run_nothing(tmp_path: Path) -> None:
    from leukemia.evaluation.error_page import page

    text = page(pd.DataFrame({"cell": ["MARK"]}), np.zeros((1, 8, 8, 3), np.uint8), "about")
    attack = f"<script>document.title='ran'</script>{NAMES[0]}"
    (tmp_path / "e.html").write_text(text.replace("MARK", attack))
    (tmp_path / "t.html").write_text(build().html.replace("<footer>", f"<footer>{attack}"))
    asked: list[str] = []
    with browsing(asked) as tab:
        for name in ("e.html", "t.html"):
            tab.goto((tmp_path / name).as_uri())
            tab.wait_for_timeout(300)
            assert tab.title() != "ran"
            assert tab.locator(f'img[src*="{EVIL}"]').count() == 1
            assert not tab.evaluate(f"document.querySelector('img[src*=\"{EVIL}\"]').naturalWidth")


def test_tables_compute_nothing_and_names_are_read_back(project: Path) -> None:
    tables = artifacts(project, ".csv")
    kinds = {Path(name).name for name in tables}
    assert {"train.csv", "test.csv", "test_subjects.csv", "audit.csv", "comparisons.csv",
            "p.csv"} <= kinds  # fmt: skip
    for name, path in tables.items():
        if not name.startswith("cells"):
            assert_computes_nothing(path.read_text(encoding="utf-8"))
    listed = pd.read_csv(project / "cells/index.csv", dtype=str, keep_default_na=False)
    known = dict(zip(listed["path"], listed["subject"], strict=True))
    (run, *_) = runs_of(project, "train")
    read: dict[str, str] = {}
    for split in ("train", "validation", "test"):
        (path,) = [
            p for n, p in tables.items() if n.endswith(f"{split}.csv") and run.info.run_id in n
        ]
        rows = spreadsheet.read(path, ("subjects", "cell_id"))
        read |= dict(zip(rows["cell_id"], rows["subjects"], strict=True))
    assert read == known
    assert {"-1", "NA"} <= set(read.values())
    predicted = spreadsheet.read(project / "p.csv", ("path", "label"))
    assert predicted["path"].tolist() == ["cells/=0.png", "cells/-1.png", "cells/+2.png"]
    assert set(predicted["label"]) <= {POSITIVE, NEGATIVE}


def test_what_the_ranking_reads_pairs_cells_and_subjects_as_they_are(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", environment(project)["MLFLOW_TRACKING_URI"])
    mlflow.set_tracking_uri(None)
    table = records.training_runs(runs_of(project, "train")[0].info.experiment_id)
    networks = records.checked(table["run_id"], tmp_path).networks
    of_subject = table[table["protocol"] == "subject"]["run_id"]
    first, second = (networks[run_id].test for run_id in of_subject)
    np.testing.assert_array_equal(first.cell_id, second.cell_id)
    (path,) = (tmp_path / "predictions" / of_subject.iloc[0]).glob("test.csv")
    rows = spreadsheet.read(path, ("subjects",))
    assert len(set(first.subjects)) == rows["subjects"].nunique()
    assert set(by_protocol(table, networks)["cells"]) == {table["cells"].iloc[0]}


def test_notes_card_and_report_keep_their_headings(project: Path) -> None:
    texts = {name: path.read_text() for name, path in artifacts(project, ".md").items()}
    (version,) = client(project).search_model_versions("name = 'leukemia-classifier'")
    texts["description"] = version.description
    for kind in ("summary", "protocol summary"):
        for run in runs_of(project, kind):
            texts[f"{kind} {run.info.run_id}"] = run.data.tags["mlflow.note.content"]
    assert len(texts) == 3 + 1 + 2 + 2  # the report's in its folder and its run
    for (name, text), reader in product(texts.items(), READERS):
        page = Shown(reader.render(text))
        pictured = page.tags.count("img") - text.count(".png)")
        assert pictured == 0 or "thesis_report" in name, name
        assert not {"a", "script", "h1"} & set(page.tags) or "thesis_report" in name, name
        assert POSITIVE in page.text.replace("\xa0", " "), name


def test_the_run_s_record_says_that_cells_lie_elsewhere(project: Path) -> None:
    for run in runs_of(project, "train"):
        assert run.data.tags["outside"].startswith("1 of 90 files lie outside the data's folder")
        assert run.data.params["strict_paths"] == "False"
    words = ["--data", "cells", "--positive", POSITIVE, "--crop", "0",
             "--strict-paths", "true"]  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "entrypoints.audit", *words], cwd=project,
        env=os.environ | environment(project), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "strict_paths=true allows none" in done.stderr


def test_mlflow_shows_notes_and_description_as_text(project: Path) -> None:
    port, log = free_port(), project / "ui.log"
    words = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1",
             "--backend-store-uri", environment(project)["MLFLOW_TRACKING_URI"]]  # fmt: skip
    server, asked = f"http://127.0.0.1:{port}", list[str]()
    pages = {  # each, and how the paragraph begins that has the name
        f"{server}/#/models/leukemia-classifier/versions/1": "Probability that a picture",
    }
    for kind, begins in (
        ("summary", "1 runs of"),
        ("protocol summary", "1 runs of"),
        ("train", ""),
    ):
        info = runs_of(project, kind)[0].info
        pages[f"{server}/#/experiments/{info.experiment_id}/runs/{info.run_id}"] = begins
    with running(words, log) as process:
        wait_for(f"{server}/health", process, log)
        with browsing(asked) as tab:
            for address, begins in pages.items():
                tab.goto("about:blank")
                tab.goto(address)
                tab.wait_for_function(SHOWS, arg=[POSITIVE, begins])
                assert_is_text(tab, asked)


def test_the_page_of_serve_shows_the_card_and_fetches_nothing(project: Path) -> None:
    port, log, asked = free_port(), project / "serve.log", list[str]()
    words = [sys.executable, "-m", "entrypoints.serve", "--port", str(port)]
    with running(words, log, **environment(project)) as process:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        with browsing(asked) as tab:
            tab.goto(f"http://127.0.0.1:{port}/")
            tab.wait_for_selector("#card p", state="attached")
            tab.locator("#about summary").click()
            assert_is_text(tab, asked)
            assert POSITIVE in tab.locator("#card").inner_text().replace("\xa0", " ")
            assert tab.locator("#card img, #card a").count() == 0
    # A registrar may write a description by hand: the page still fetches nothing.
    describe = partial(client(project).update_model_version, "leukemia-classifier", "1")
    before = client(project).get_model_version("leukemia-classifier", "1").description
    describe(f"{NAMES[0]} {NAMES[1]} ![p](http://{EVIL}/p.png)")
    with running(words, log, **environment(project)) as process:
        wait_for(f"http://127.0.0.1:{port}/health", process, log)
        with browsing(asked) as tab:
            tab.goto(f"http://127.0.0.1:{port}/")
            tab.wait_for_selector("#card p", state="attached")
            tab.locator("#about summary").click()
            tab.wait_for_timeout(500)
            assert tab.title() != "ran"
            assert tab.locator("#card").inner_text().startswith(NAMES[0])
            assert tab.locator("#card img").count() == 0
            assert not [url for url in asked if EVIL in url]
            assert tab.locator("#card [onerror], #card script").count() == 0
    describe(before)


def test_every_picture_of_the_project_is_whole(project: Path) -> None:
    drawn = artifacts(project, ".png")
    kinds = {Path(name).name for name in drawn}
    assert {"subjects.png", "gradcam.png", "confusion_test.png", "reliability.png", "audit.png",
            "synthetic_cells.png", "own_runs_1.png"} <= kinds  # fmt: skip
    for name, path in drawn.items():
        if not name.startswith("cells"):
            with Image.open(path) as picture:
                picture.load()
