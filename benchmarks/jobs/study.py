"""A whole study of few cells, five techniques on one seed, against five notebooks.

On more cells, hours: `python -m benchmarks.study`. The first run's costs weigh the more the fewer
cells there are, on both sides.
"""

import json
from pathlib import Path

from benchmarks import study
from benchmarks.harness import Contender, Goal, Job, Run

CELLS, SIDE, WORKERS = 600, 96, 2


def prepare(folder: Path) -> Run:
    """Drawn cells, and the network that all start from."""
    from leukemia.model.classifier import ModelConfig, build

    study.draw(folder, CELLS)
    backbone = build(ModelConfig(weights="none", size=SIDE), 0).model.get_layer("backbone")
    backbone.save_weights(folder / "start.weights.h5")
    return lambda: None


def notebooks(folder: Path) -> Run:
    """As the thesis did it."""

    def run() -> None:
        found = study.notebooks(folder, _asked(folder))
        (folder / "notebooks.json").write_text(json.dumps(found))

    return run


def ours(folder: Path) -> Run:
    """`study`, two runs at a time, to the ranking and the registered model."""
    return lambda: study.ours(folder, _asked(folder))


def _asked(folder: Path) -> study.Asked:
    return study.Asked(study.TECHNIQUES, "0", SIDE, str(folder / "start.weights.h5"), WORKERS)


def check(folder: Path) -> str:
    """The same cells trained and tested every technique."""
    import mlflow

    mlflow.set_tracking_uri(study.store(folder))
    found = mlflow.search_runs(
        search_all_experiments=True, filter_string="attributes.status = 'FINISHED'"
    )
    runs = found.dropna(subset=["tags.technique", "params.n_train"])
    ours = {
        run["tags.technique"]: (int(run["params.n_train"]), int(run["params.n_test"]))
        for _, run in runs.iterrows()
    }
    said = json.loads((folder / "notebooks.json").read_text())
    theirs = {row["technique"]: (row["train"], row["test"]) for row in said}
    assert ours == theirs, f"{ours} and {theirs}"
    train, test = next(iter(ours.values()))
    return f"{len(ours)} techniques trained on {train} cells and tested on {test}, both"


JOB = Job(
    f"A whole study, five techniques, {CELLS} cells of {SIDE} px",
    {"five notebooks": Contender("notebooks"), "study": Contender("ours")},
    (Goal("study", "five notebooks", 3.0),),
    1,
    check,
)
