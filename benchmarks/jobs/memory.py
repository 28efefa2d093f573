"""The largest memory of each technique at the thesis' scale: 9,572 training cells of 210 px.

As a run does, but for its number of steps: balances, computes features, trains the classifier for
two steps and scores a batch. The peer is the arrays alone that the thesis' way holds: all cells as
float64 divided by 255, and the balanced set beside them.
"""

from pathlib import Path

from benchmarks.harness import Contender, Job, Run
from benchmarks.jobs import adasyn, adasyn_thesis
from leukemia.cells import Cells
from leukemia.contract import Features, TrainingSet

STEPS, BATCH = 2, 32
UNSEEN = 1_000  # validation cells that made ones are measured against; the same again, for memory
TECHNIQUES = ("adasyn", "augmentation", "baseline", "control", "dcgan", "weighted")


def prepare(folder: Path) -> Run:
    """Drawn cells."""
    return adasyn_thesis.prepare(folder)


def _with(name: str, folder: Path) -> Run:
    def run() -> None:
        from dataclasses import replace

        import numpy as np

        from leukemia import techniques
        from leukemia.cells import Cells
        from leukemia.contract import Stage, TechniqueContext
        from leukemia.experiment.balance import threads
        from leukemia.experiment.run import Answers
        from leukemia.model.classifier import ModelConfig, build
        from leukemia.model.features import Features
        from leukemia.model.training import FitInputs, fit
        from leukemia.report import silent

        images = np.load(folder / "cells.npy", mmap_mode="r")
        labels = np.load(folder / "labels.npy")
        names = np.array([f"c{row}" for row in range(len(labels))])
        rows = np.arange(len(labels))
        cells = Cells(images=images, labels=labels, subjects=names, cell_id=names)
        technique = techniques.load(name)
        settings = techniques.defaults(technique, "equal")
        if name == "dcgan":
            settings = replace(settings, gan_epochs=1)
        classifier = build(ModelConfig(weights="none", size=adasyn.SIZE), 0)
        features = Features(classifier, threads())
        context = TechniqueContext(
            rng=np.random.default_rng(0),
            report=silent,
            features=features,
        )
        made = technique.balance(cells.take(rows), settings, context)
        if made.synthetic.any():
            _review(cells, made, features)
        few = cells.take(rows[:BATCH])
        features(few.images)
        answers = Answers(classifier, {"validation": few})
        inputs = FitInputs(
            training=replace(made, epoch_size=STEPS * BATCH),
            validation=few,
            stages=(Stage(learning_rate=1e-4, epochs=1),),
            batch_size=BATCH,
            seed=0,
            report=silent,
            threads=threads(),
            final=lambda: answers.scores("validation"),
        )
        fit(classifier, inputs)

    return run


def _review(cells: Cells, made: TrainingSet, features: Features) -> None:
    """Measure the synthetic cells as an experiment does."""
    import numpy as np

    from leukemia.synthetic.review import Kind, review

    rarer = cells.take(cells.labels == cells.minority())
    training, unseen = (
        Kind(images=each.images, subjects=each.subjects)
        for each in (rarer, rarer.take(np.arange(UNSEEN)))
    )
    new = Kind(images=made.cells.take(made.synthetic).images, subjects=None)
    review(new, training, unseen, features, "network", None, "", 0)


def with_adasyn(folder: Path) -> Run:
    """ADASYN."""
    return _with("adasyn", folder)


def with_augmentation(folder: Path) -> Run:
    """Transformed copies."""
    return _with("augmentation", folder)


def with_baseline(folder: Path) -> Run:
    """Nothing."""
    return _with("baseline", folder)


def with_control(folder: Path) -> Run:
    """Longer training."""
    return _with("control", folder)


def with_dcgan(folder: Path) -> Run:
    """The GAN, one epoch of it."""
    return _with("dcgan", folder)


def with_weighted(folder: Path) -> Run:
    """Class weights."""
    return _with("weighted", folder)


def check(folder: Path) -> str:
    """What the peer would need."""
    cells, pixels = adasyn_thesis.CELLS, adasyn.SIZE**2 * 3
    balanced = 2 * round((1 - adasyn_thesis.RARER) * cells)
    gib = (cells + balanced) * pixels * 8 / 2**30
    return f"as float64 arrays the cells and the balanced set alone would take {gib:.0f} GiB"


JOB = Job(
    f"Memory at {adasyn_thesis.CELLS:,} cells of {adasyn.SIZE} px (goal: under 6 GiB)",
    {name: Contender(f"with_{name}") for name in TECHNIQUES},
    (),
    1,
    check,
)
