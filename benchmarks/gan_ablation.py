"""What each ingredient of the modern GAN buys: all of them, each left out in turn, the thesis'.

    python -m benchmarks.gan_ablation --data sample --image-size 64 --epochs 200

Cells of the rarer class are split by subject as in a training run (protocol subject): the GAN
learns from the training side and is measured against the validation side. Every variant makes as
many steps of as many cells from the same seeds; the generator kept is the one that measured best
at one of ten looks, on subjects of the training side that it did not learn from. The floor is what
the training cells themselves would measure.
"""

import argparse
import json
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tensorflow as tf

from entrypoints import console
from leukemia.cells import Cells
from leukemia.contract import Features
from leukemia.evaluation.plots import png
from leukemia.experiment.options import ExperimentOptions
from leukemia.experiment.prepare import gather
from leukemia.gan import pictures, training
from leukemia.gan.config import MODERN, THESIS, GanConfig, canvas
from leukemia.gan.held_out import held_out
from leukemia.model.classifier import ModelConfig, build, feature_model
from leukemia.model.inference import predict
from leukemia.report import silent
from leukemia.splits.protocol import split
from leukemia.synthetic.review import Kind, review
from leukemia.techniques import dcgan

LEFT_OUT = {
    "spectral": False,
    "ema": 0.0,
    "norm": False,
    "eight_bit": False,
    "merged": False,
    "loss": "binary",
    "discriminator_rate": 1.0,
    "beta_1": 0.5,
}
ADDED = {
    "smoothing": {"smoothing": 0.1},
    "r1": {"r1": 1.0},
    "shared": {"loss": "binary", "shared": True},
    "r1 for spectral": {"r1": 1.0, "spectral": False},
    "turns": {"augment": "turns"},
    "all augmentations": {"augment": "all"},
    "both classes": {"conditional": True},
    "float32": {"precision": "float32"},
}


def main() -> None:
    """Train every variant and print a row for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="as of a training run")
    parser.add_argument("--positive", default="auto", help="name of the positive class")
    parser.add_argument("--image-size", type=int, default=64, help="side in pixels")
    parser.add_argument("--epochs", type=int, default=200, help="epochs of each variant")
    parser.add_argument("--batch", type=int, default=32, help="cells in a step")
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each variant")
    parser.add_argument("--weights", default="auto", help="of the ResNet-50 that gives features")
    parser.add_argument("--precision", default="bfloat16", help="of all variants but one")
    parser.add_argument("--variants", default="all", help="names with commas")
    parser.add_argument("--out", type=Path, help="folder for grids of samples")
    options = parser.parse_args()
    tf.config.experimental.enable_op_determinism()
    trial = trial_of(options)
    size = canvas(options.image_size)
    print(f"{len(trial.learned)} cells learned from; {trial.about}")
    print("| variant | seed | KID | 95 % interval | floor | coverage | density | probe raw | low | "
          "high | power | copies | seconds |\n|" + "---|" * 13)  # fmt: skip
    chosen = variants(size, options)
    names = list(chosen) if options.variants == "all" else options.variants.split(",")
    for name in names:
        for seed in range(options.seeds):
            row(name, chosen[name], seed, trial, options)


def variants(size: int, options: argparse.Namespace) -> dict[str, GanConfig]:
    """The plans by name."""
    same = {
        "size": size,
        "epochs": options.epochs,
        "batch_size": options.batch,
        "precision": options.precision,
    }
    modern, thesis = replace(MODERN, **same), replace(THESIS, **same)
    without = {f"without {k}": replace(modern, **{k: v}) for k, v in LEFT_OUT.items()}
    more = {f"with {name}": replace(modern, **added) for name, added in ADDED.items()}
    # An epoch of both classes has twice the steps.
    both = more["with both classes"]
    more["with both classes"] = replace(both, epochs=max(1, both.epochs // 2))
    return {"modern": modern, "thesis": thesis, **without, **more}


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The rarer class's cells that a GAN learns from, those that choose its epoch, both of a
    split's training side, and those of its validation side; training cells of the other class."""

    learned: Cells
    spared: Cells
    unseen: Cells
    others: Cells
    features: Features
    about: str


def trial_of(options: argparse.Namespace) -> Trial:
    """The cells of a split, with a network's features."""
    asked = ExperimentOptions(
        data=options.data, positive=options.positive, image_size=options.image_size
    )
    gathered = gather(asked, progress=console.bar)
    index, cells = gathered.index, gathered.cells
    rows = split(index, cells.subjects, "subject", 0, 0, 3).rows
    train, validation = (cells.take(rows[side]) for side in ("train", "validation"))
    rarer = train.take(train.labels == cells.minority())
    unseen = validation.take(validation.labels == cells.minority()).loaded()
    classifier = build(ModelConfig(weights=options.weights, size=options.image_size), 0)
    held, below_head = held_out(rarer.subjects, 0), feature_model(classifier)
    return Trial(
        learned=rarer.take(~held).loaded(),
        spared=rarer.take(held).loaded(),
        unseen=unseen,
        others=train.take(train.labels != cells.minority()).loaded(),
        features=lambda images: predict(below_head, np.asarray(images)),
        about=f"{len(unseen)} unseen cells of {len(set(unseen.subjects))} subjects; "
        f"{index.describe()}; {classifier.note}.",
    )


def row(name: str, config: GanConfig, seed: int, trial: Trial, options: argparse.Namespace) -> None:
    """Train one, review it, print it."""
    start = time.perf_counter()
    images, others = (
        pictures.put_on(np.asarray(each.images), config.size)
        for each in (trial.learned, trial.others)
    )
    measured, _ = dcgan.scorer(trial.learned, trial.spared, trial.features)
    trained = training.train(
        images, config, seed, silent, training.Terms(scorer=measured),
        others if config.conditional else None,
    )  # fmt: skip
    seconds = time.perf_counter() - start
    made = pictures.generate(trained.generator, 200, 1, options.image_size)
    f = review(
        Kind(images=made, subjects=None), _kind(trial.learned), _kind(trial.unseen),
        trial.features, "network", None, trial.about, 1,
    ).metrics  # fmt: skip
    print(
        f"| {name} | {seed} | {f['synth_kid']:.3f} | {f['synth_kid_lo']:.3f} to "
        f"{f['synth_kid_hi']:.3f} | {f['floor_kid']:.3f} | {f['synth_coverage']:.2f} | "
        f"{f['synth_density']:.2f} | {f['synth_probe_raw']:.2f} | {f['synth_probe_low']:.2f} | "
        f"{f['synth_probe_high']:.2f} | {f['synth_trace_power']:.2f} | {f['synth_copies']:.0f} | "
        f"{seconds:.0f} |",
        flush=True,
    )
    if options.out:
        folder = options.out / f"{name.replace(' ', '_')}_{seed}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "samples.png").write_bytes(png(pictures.grid(made[:32])))
        (folder / "figures.json").write_text(json.dumps(f | {"kid": trained.progress.history}))


def _kind(cells: Cells) -> Kind:
    return Kind(images=cells.images, subjects=cells.subjects)


if __name__ == "__main__":
    main()
