"""Cells of the rarer class are made by a DC-GAN until both classes are equally frequent.

A generator learns to make cells that a discriminator cannot tell from the training cells of the
rarer class. Source: Radford, Metz & Chintala 2015 (arXiv 1511.06434), with what later work
found to help with few images (`gan=modern`), or as the thesis sets it in section 4.4
(`gan=thesis`, the default under the budget `thesis`).

Wrong when the rarer class has few cells: the generator then copies those it has seen, or makes
the same one again and again. Wrong when the synthetic cells are smaller than the input of the
classifier: 128 px cells enlarged to 210 px are blurred, and the classifier can learn blur in
place of disease. No two trainings agree, so one run is no evidence.

Cost: 1,000 epochs of 2,300 cells at 128 px took the thesis 8.5 hours on a GPU.
"""

from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import (
    Features,
    Schedule,
    Stage,
    TechniqueContext,
    TrainingSet,
    setting,
    unchanged,
    with_synthetic,
)
from leukemia.errors import UserError
from leukemia.gan.config import ON_COLLAPSE, RECIPES, GanConfig, canvas

if TYPE_CHECKING:
    from leukemia.gan.training import SampleScorer, Trained

AS_THESIS = {"gan": "thesis"}
THESIS = Schedule(
    transfer=Stage(learning_rate=1e-4, epochs=10), fine_tune=Stage(learning_rate=1e-4, epochs=20)
)
# A minute for 100 cells on two cores: enough to see the job work, not to make good cells.
QUICK = {"gan_size": 32, "gan_epochs": 150, "gan_batch": 32, "gan_lr": 2e-4}
ANY_SIDE = 64  # px: no setting is right for one size of cells and wrong for another
MOST_COPIES = 0.05  # five times what other people's cells would be called
SAMPLES = 500  # synthetic and held-out cells that are measured at an epoch, at most
LEAST_SAMPLES = 50

# TensorFlow takes seconds to import, and `--help` reads Settings: hence imports in functions.


NAMES = {  # of a GanConfig's fields among the settings; the others have gan_ before their own
    "batch_size": "gan_batch",
    "learning_rate": "gan_lr",
    "discriminator_rate": "gan_d_rate",
    "latent": "latent",
    "beta_1": "beta_1",
}


def _of_recipe() -> list[tuple[str, Any, Any]]:
    """Each field of a GanConfig as a setting that the recipe decides where it is not given."""
    usual = RECIPES["thesis"]
    return [
        (
            NAMES.get(each.name, f"gan_{each.name}"),
            each.type | None,  # type: ignore[operator]
            setting(
                None,
                f"{each.metadata['help']} (thesis: {getattr(usual, each.name)}); unset: the "
                f"recipe's",
                kind=each.type,
                choices=each.metadata["choices"],
            ),
        )
        for each in fields(GanConfig)
    ]


# A recipe, and what is to differ from it; `gan_run` spares the training.
Settings: Any = make_dataclass(
    "Settings",
    [
        (
            "gan",
            str,
            setting(
                "modern",
                "recipe: modern, or the thesis' (default under budget thesis)",
                choices=tuple(RECIPES),
            ),
        ),
        *_of_recipe(),
        (
            "gan_on_collapse",
            str,
            setting("ignore", "what to do when the GAN has collapsed", choices=ON_COLLAPSE),
        ),
        (
            "gan_copies",
            float,
            setting(MOST_COPIES, "share of synthetic cells that may be copies of training cells"),
        ),
        (
            "gan_run",
            str,
            setting(
                "", "run ID of a run whose trained generator is used again", artifact="generator"
            ),
        ),
    ],
    # What is out of range is refused before anything is trained.
    namespace={"__post_init__": lambda self: config_of(self, ANY_SIDE) and None},
    frozen=True,
    kw_only=True,
)


def config_of(settings: Any, side: int) -> GanConfig:
    """The recipe with the settings that were given, for cells of `side` px.

    Raises:
        UserError: a setting is out of its range.
    """
    given = {
        f.name: getattr(settings, NAMES.get(f.name, f"gan_{f.name}")) for f in fields(GanConfig)
    }
    given = {name: value for name, value in given.items() if value is not None}
    if settings.gan == "modern":
        given.setdefault("size", canvas(side))
    return replace(RECIPES[settings.gan], **given)


def balance(train: Cells, settings: Any, context: TechniqueContext) -> TrainingSet:
    """The training cells and as many synthetic ones as the rarer class lacks.

    The generator and what it was trained on come back as files.

    Raises:
        UserError: fewer than 2 cells to learn from; a setting is out of its range; the reused
            generator was trained on other cells, or is none; the GAN collapsed and is to stop.
    """
    if train.shortage() == 0:
        return unchanged(train)
    from leukemia.gan import artifacts, pictures

    training_seed, synthesis_seed = context.rng.integers(2**31, size=2).tolist()
    cells = train.take(train.labels == train.minority()).loaded()
    if settings.gan_run:
        made = _Made(files=artifacts.again(Path(settings.gan_run), cells.digest()))
    else:
        made = _trained(train, cells, settings, training_seed, context)
    synthetic = pictures.generate(
        artifacts.generator(made.files), train.shortage(), synthesis_seed, train.images.shape[1:3]
    )
    return replace(
        with_synthetic(train, synthetic, "dcgan"),
        most_copies=settings.gan_copies,
        metrics=made.metrics,
        notes=made.notes,
        files=made.files,
    )


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What is kept of a generator: its files, and what was measured and is said of its training."""

    files: dict[str, bytes]
    metrics: dict[str, float] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)


def _trained(
    train: Cells, cells: Cells, settings: Any, seed: int, context: TechniqueContext
) -> _Made:
    """A new generator of such cells of the training cells.

    Cells of some of their subjects are held out from its training: on them its best epoch is
    chosen, and its discriminator is attacked.
    """
    if len(cells) < 2:
        raise UserError(
            f"the rarer class has {len(cells)} training cells: a GAN needs 2 or more; "
            "add cells, or choose another technique"
        )
    from leukemia.gan import artifacts, pictures, training
    from leukemia.gan.held_out import held_out
    from leukemia.synthetic.fixed_features import NAME, fixed_features

    config = training.resolved(config_of(settings, cells.images.shape[1]))
    held = held_out(cells.subjects, seed)
    learned, spared = cells.take(~held).loaded(), cells.take(held).loaded()
    features, network = context.features or fixed_features, context.network or NAME
    measured, floor = scorer(learned, spared, features) if held.any() else (None, None)
    terms = training.Terms(
        scorer=measured,
        folder=context.folder,
        saved=context.saved,
        on_collapse=settings.gan_on_collapse,
    )
    images = pictures.put_on(np.asarray(learned.images), config.size)
    of_others = None
    if config.conditional:
        of_others = pictures.put_on(train.images[train.labels != cells.labels[0]], config.size)
    trained = training.train(images, config, seed, context.report, terms, of_others)
    trained_on: dict[str, str | int] = {
        "digest": cells.digest(), "count": len(learned), "seed": seed,
    }  # fmt: skip
    choice = _choice(trained, cells, spared, network)
    title = f"GAN ({settings.gan}), {len(learned)} cells of {config.size} px"
    about = f"{choice} {context.about}".strip()
    return _Made(
        files=artifacts.files(trained, config, trained_on, floor, title, about),
        metrics=_attacked(trained, learned, spared) if held.any() else {},
        notes={"gan_epoch": choice},
    )


def scorer(learned: Cells, spared: Cells, features: Features) -> "tuple[SampleScorer, float]":
    """Measures samples against the cells that were held out; and the KID of perfect samples, which
    as many of the cells learned from have in their place."""
    from leukemia.gan import pictures
    from leukemia.gan.training import SampleScorer
    from leukemia.synthetic import measures
    from leukemia.synthetic.kid import kid

    side, count = learned.images.shape[1:3], min(SAMPLES, len(learned))
    real, subjects = features(spared.images[:SAMPLES]), spared.subjects[:SAMPLES]

    def measure(made: np.ndarray) -> dict[str, float]:
        of_made = features(pictures.taken_off(made, side))
        figures = measures.measure(real, of_made, subjects)
        return {f"gan_{name}": value for name, value in figures.items()}

    floor = kid(real, features(learned.images[:count]), subjects).value
    return SampleScorer(count=max(count, LEAST_SAMPLES), measure=measure), floor


def _choice(trained: "Trained", cells: Cells, spared: Cells, network: str) -> str:
    """A sentence on which epoch's generator makes the cells, and why that one."""
    epoch, last = trained.chosen_epoch, trained.progress.epoch
    if len(spared):
        return (
            f"Generator of epoch {epoch} of {last}: lowest KID ({network}) to {len(spared)} "
            f"training cells of {len(set(spared.subjects))} subjects that it did not learn from."
        )
    return (
        f"Generator of the last epoch, {last}: the rarer class has "
        f"{len(set(cells.subjects))} training subjects, too few to hold any out and choose an "
        f"epoch on them."
    )


def _attacked(trained: "Trained", learned: Cells, spared: Cells) -> dict[str, float]:
    """How well the discriminator knows the cells that it was trained on from those held out."""
    from leukemia.gan.training import logits
    from leukemia.synthetic import membership

    taken = [logits(trained.discriminator, np.asarray(each.images)) for each in (learned, spared)]
    told = membership.attack(taken[0], taken[1], learned.subjects, spared.subjects)
    return membership.metrics("discriminator", told)
