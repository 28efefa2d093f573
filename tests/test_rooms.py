"""The rooms of `leukemia/`: who may import whom, and what all of them keep to."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import leukemia
from tests.conftest import ROOT

# No room imports one of a later line; those of one line do not know each other.
ORDER = [
    {"text"},
    {"root"},
    {"evaluation", "data"},
    {"splits"},
    {"model"},
    {"gan", "synthetic"},
    {"techniques"},
    {"experiment"},
    {"ranking"},
    {"tracking"},
    {"registry"},
    {"study", "serving"},
    {"thesis"},
    {"entrypoints"},
]
FLOOR = {room: floor for floor, rooms in enumerate(ORDER) for room in rooms}
SPEAK_MLFLOW = {"tracking", "registry", "serving", "study"}
MAY_CHANGE = {  # dataclasses that are not frozen, each with its reason
    "leukemia.gan.checkpoint.Progress": "a training's memory, which grows with every step of it",
}


@cache
def sources() -> dict[Path, ast.Module]:
    """Path -> syntax tree of each file of leukemia/ and entrypoints/."""
    files = [*(ROOT / "leukemia").rglob("*.py"), *(ROOT / "entrypoints").rglob("*.py")]
    return {path.relative_to(ROOT): ast.parse(path.read_text()) for path in sorted(files)}


def module_of(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def room_of(module: str) -> str:
    """The room of a module's dotted name; `root` for the files beside the rooms."""
    first, *rest = module.split(".")
    if first == "entrypoints":
        return first
    return rest[0] if rest and (ROOT / "leukemia" / rest[0]).is_dir() else "root"


def imports_of(path: Path) -> Iterator[str]:
    """The dotted name of each module that a file imports, anywhere in it."""
    known = {module_of(each) for each in sources()}
    for node in ast.walk(sources()[path]):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom):
            # The commands are installed under another name, so they name each other relatively.
            assert not node.level or path.parts[0] == "entrypoints", f"{path}: imports are absolute"
            of = ".".join(filter(None, ["entrypoints" if node.level else "", node.module]))
            for each in node.names:
                inner = f"{of}.{each.name}"
                yield inner if inner in known else of


def of_ours() -> Iterator[tuple[Path, str]]:
    """(file, module) of each import of a module of leukemia/ or entrypoints/."""
    for path in sources():
        for module in imports_of(path):
            if module.split(".")[0] in ("leukemia", "entrypoints"):
                yield path, module


def test_every_room_has_its_place() -> None:
    rooms = {room_of(module_of(path)) for path in sources()}
    assert rooms == set(FLOOR)


def test_no_room_imports_one_to_its_right() -> None:
    wrong = []
    for path, module in of_ours():
        here, there = room_of(module_of(path)), room_of(module)
        if here != there and FLOOR[there] >= FLOOR[here]:
            wrong.append(f"{path} ({here}) imports {module} ({there})")
    assert not wrong, "\n".join(wrong)


def test_no_modules_import_each_other_in_a_circle() -> None:
    imported: dict[str, set[str]] = {}
    for path, module in of_ours():
        if module != module_of(path):
            imported.setdefault(module_of(path), set()).add(module)
    finished: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " imports ".join((*way[way.index(module) :], module))
        if module not in finished:
            for each in imported.get(module, ()):
                visit(each, (*way, module))
            finished.add(module)

    for module in imported:
        visit(module, ())


def test_few_files_lie_beside_the_rooms() -> None:
    assert len(list((ROOT / "leukemia").glob("*.py"))) <= 6


def importing(package: str) -> set[str]:
    """The rooms in which a file imports a package from elsewhere."""
    return {
        room_of(module_of(path))
        for path in sources()
        for name in imports_of(path)
        if name.split(".")[0] == package
    }


def test_only_the_rooms_at_the_edge_import_mlflow_and_the_package_says_which() -> None:
    sentence = re.search(r"Only the rooms (.+?) import\s+mlflow", leukemia.__doc__ or "", re.DOTALL)
    assert sentence
    assert set(re.findall(r"`(\w+)`", sentence[1])) == SPEAK_MLFLOW
    assert importing("mlflow") <= SPEAK_MLFLOW


def test_nothing_but_entry_points_imports_click() -> None:
    assert importing("click") == {"entrypoints"}


def test_only_entry_points_import_the_thesis() -> None:
    importing = {
        room_of(module_of(path)) for path, module in of_ours() if room_of(module) == "thesis"
    }
    assert importing == {"thesis", "entrypoints"}


def dataclasses() -> dict[str, str]:
    """Dotted name -> decorator of each dataclass."""
    return {
        f"{module_of(path)}.{node.name}": decorator
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for decorator in map(ast.unparse, node.decorator_list)
        if decorator.split("(")[0].split(".")[-1] == "dataclass"
    }


def test_dataclasses_are_keyword_only_and_frozen() -> None:
    found = dataclasses()
    assert len(found) > 40
    assert not [name for name, decorator in found.items() if "kw_only=True" not in decorator]
    assert {name for name, each in found.items() if "frozen=True" not in each} == set(MAY_CHANGE)
