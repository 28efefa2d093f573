"""What a public project promises in its documents: links, paths, records and versions are true."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import yaml

from leukemia import __version__
from leukemia.cells import Cells
from leukemia.contract import TechniqueContext
from leukemia.experiment.balance import hold_to_contract
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
DECISIONS = ROOT / "docs/decisions"
RECORDS = sorted(DECISIONS.glob("[0-9]*.md"))
PLACEHOLDERS = re.compile(r"\bNN\b|NAME")


def documents() -> list[Path]:
    """Every Markdown file of the repository, also those that are not committed yet."""
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / line for line in done.stdout.splitlines() if (ROOT / line).exists()]


def prose(document: Path) -> str:
    """A document without its blocks of code."""
    return re.sub(r"^```.*?^```", "", document.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors(document: Path) -> set[str]:
    """The headings of a document as links name them."""
    headings = re.findall(r"^#+ (.+)$", prose(document), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def code_spans(text: str) -> list[str]:
    return re.findall(r"`([^`\n]+)`", text)


def missing(paths: set[str]) -> set[str]:
    """Those that are not in the repository."""
    return {path for path in paths if not (ROOT / path).exists()}


def rows(text: str) -> list[list[str]]:
    """The cells of every row of every table."""
    lines = re.findall(r"^\| (.+) \|$", text, re.MULTILINE)
    return [[cell.strip() for cell in line.split(" | ")] for line in lines]


def section(heading: str) -> str:
    """The text of a section of CONTRIBUTING.md."""
    return CONTRIBUTING.split(f"\n## {heading}\n")[1].split("\n## ")[0]


def recipe(target: str) -> str:
    """The commands of a target of the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    first, *_ = re.findall(rf"^{target}:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    return first


def test_every_link_leads_somewhere() -> None:
    links = 0
    for document in documents():
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(document)):
            links += 1
            path, _, anchor = link.partition("#")
            target = document.parent / path if path else document
            assert target.exists(), f"{document.name}: {link}"
            assert not anchor or anchor in anchors(target), f"{document.name}: {link}"
    assert links > 30


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", ".github/PULL_REQUEST_TEMPLATE.md"])
def test_every_path_that_is_named_exists(document: str) -> None:
    spans = code_spans(prose(ROOT / document))
    paths = {each for each in spans if re.fullmatch(r"[\w./-]*(/[\w.-]*|\.(md|toml|cff|py))", each)}
    assert paths
    assert not missing({each for each in paths if not PLACEHOLDERS.search(each)})


@pytest.mark.parametrize("record", RECORDS, ids=lambda path: path.stem)
def test_a_record_names_what_is_there_and_has_its_three_parts(record: Path) -> None:
    text = record.read_text()
    tops = {path.name for path in ROOT.iterdir()}  # artifacts of runs are named as well
    paths = {each for each in code_spans(text) if re.fullmatch(r"[\w.-]+/\S*", each)}
    assert not missing({each for each in paths if each.split("/")[0] in tops})
    assert re.findall(r"^\*\*(\w+)\.\*\*", text, re.M) == ["Context", "Decision", "Consequence"]
    assert 15 <= len(text.splitlines()) <= 45


def test_the_index_of_decisions_lists_each_record_by_its_title_and_nothing_else() -> None:
    index = (DECISIONS / "README.md").read_text()
    listed = re.findall(r"^\| \[(\d+)\]\((.+?)\) \| (.+) \|$", index, re.MULTILINE)
    titles = [path.read_text().splitlines()[0].removeprefix("# ") for path in RECORDS]
    assert [f"{number} {title}" for number, _, title in listed] == titles
    assert [file for _, file, _ in listed] == [path.name for path in RECORDS]
    assert [int(number) for number, *_ in listed] == [*range(1, len(RECORDS) + 1)]
    assert {path.name for path in DECISIONS.iterdir()} == {"README.md", *(p.name for p in RECORDS)}


def test_the_citation_is_of_this_version_and_of_those_whom_the_licence_names() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    licence = (ROOT / "LICENSE").read_text()
    assert str(citation["version"]) == __version__
    assert licence.startswith(f"{citation['license']} License")
    for author in citation["authors"]:
        assert author["name"].lower() in licence.lower()


def test_contributing_has_an_example_of_each_way_of_acting() -> None:
    table = rows(section("Add a technique"))[1:]
    examples = {path.name for path in (ROOT / "tests/examples").glob("[!_]*.py")}
    assert {Path(row[2].strip("`")).name for row in table} == examples
    assert len(table) == len(examples)
    for row in table:
        source = (ROOT / row[2].strip("`")).read_text()
        names = [each.strip("`") for each in re.findall(r"`\w+`", row[1])]
        assert any(re.search(rf"\b{name}\b", source) for name in names), row


def test_contributing_and_readme_list_every_room() -> None:
    rooms = {path.parent.name for path in (ROOT / "leukemia").glob("*/__init__.py")}
    listed = [row[0].strip("`") for row in rows(section("Where things live"))]
    assert {each.removeprefix("leukemia/") for each in listed if each.startswith("leukemia/")} == {
        "", *rooms
    }  # fmt: skip
    tree = README.split("\nleukemia/\n")[1].split("```")[0]
    assert set(re.findall(r"^  (\w+)/ ", tree, re.MULTILINE)) == rooms


def test_every_make_target_that_contributing_names_exists() -> None:
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", CONTRIBUTING, re.MULTILINE))
    targets = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"setup", "test", "lint"} <= named <= targets


def test_the_hooks_before_a_commit_are_commands_of_make_lint() -> None:
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        command = hook["entry"].replace(".venv/bin", "$(BIN)")
        assert f"\t{command}" in recipe("lint"), hook["id"]


def test_the_technique_of_the_readme_keeps_the_contract(cells: Cells) -> None:
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    technique: dict = {"__name__": "of_readme"}
    exec(next(block for block in blocks if "def balance(" in block), technique)
    context = TechniqueContext(rng=np.random.default_rng(0))
    made = technique["balance"](cells, technique["Settings"](), context)
    hold_to_contract(cells, made, "mirror")
    assert made.synthetic.sum() == technique["Settings"]().copies
    (first, *_) = np.flatnonzero(made.synthetic)
    parent = cells.images[made.parents[0, 0]]
    np.testing.assert_array_equal(made.cells.images[first], parent[:, ::-1])


def test_make_coverage_reads_the_figure_that_the_readme_gives() -> None:
    (figure,) = re.findall(r"tests run (\d+) % of the lines.*\d{4}-\d\d-\d\d", README)
    (words,) = re.findall(r"\$\$\((sed .*? README\.md)\)", recipe("coverage"))
    done = subprocess.run(words, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == figure
    assert "make coverage" in (ROOT / ".ci/run").read_text()
