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

from dataclasses import fields, make_dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from leukemia.cells import Cells
from leukemia.contract import (
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
    from leukemia.gan.review import Review, Reviewer
    from leukemia.gan.training import Trained

AS_THESIS = {"gan": "thesis"}
THESIS = Schedule(
    transfer=Stage(learning_rate=1e-4, epochs=10), fine_tune=Stage(learning_rate=1e-4, epochs=20)
)
# A minute for 100 cells on two cores: enough to see the job work, not to make good cells.
QUICK = {"gan_size": 32, "gan_epochs": 150, "gan_batch": 32, "gan_lr": 2e-4}
ANY_SIDE = 64  # px: no setting is right for one size of cells and wrong for another
MOST_COPIES = 0.05  # five times what new genuine cells would be called

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
    """The training cells and as many synthetic ones as the rarer class lacks, less copies.

    The generator, what it was trained on and its review come back as files.

    Raises:
        UserError: fewer than 2 cells to learn from; a setting is out of its range; the reused
            generator was trained on other cells, or is none; the GAN collapsed and is to stop.
    """
    if train.shortage() == 0:
        return unchanged(train)
    synthetic, review, files = _synthetic(train, settings, context)
    return replace(
        with_synthetic(train, synthetic, "dcgan"),
        metrics=review.metrics,
        copied=review.refusal,
        files=files | review.files,
    )


def _synthetic(
    train: Cells, settings: Any, context: TechniqueContext
) -> "tuple[np.ndarray, Review, dict[str, bytes]]":
    """Images (m, H, W, 3) uint8 of new cells without the copies, the review of them and of the
    copies, and the generator's files."""
    from leukemia.gan import artifacts, pictures

    rarer = train.minority()
    cells = train.take(train.labels == rarer).loaded()
    reviewer = _reviewer(cells, rarer, settings, context)
    training_seed, synthesis_seed = context.rng.integers(2**31, size=2).tolist()
    discriminator = None
    if settings.gan_run:
        files = artifacts.again(Path(settings.gan_run), cells.digest())
    else:
        trained, files = _trained(train, cells, settings, training_seed, context, reviewer)
        discriminator = trained.discriminator
    synthetic = pictures.generate(
        artifacts.generator(files), train.shortage(), synthesis_seed, train.images.shape[1:3]
    )
    review = reviewer.review(synthetic, discriminator, synthesis_seed)
    return synthetic[~review.copies] if review.copies.any() else synthetic, review, files


def _reviewer(cells: Cells, rarer: int, settings: Any, context: TechniqueContext) -> "Reviewer":
    """Measures synthetic cells against the validation cells of the rarer class."""
    from leukemia.gan.review import Images, Reviewer, pixels

    unseen = context.unseen and context.unseen.take(context.unseen.labels == rarer).loaded()
    apart = unseen is not None and len(unseen) > 1
    real = (
        f"{len(unseen)} validation cells of the rarer class, which did not train the GAN"
        if unseen is not None and apart
        else "the very cells that train the GAN, because there are no others"
    )
    network = context.network or "no network, but pixels"
    return Reviewer(
        training=Images(images=np.asarray(cells.images), groups=cells.subjects),
        unseen=Images(images=np.asarray(unseen.images), groups=unseen.subjects)
        if unseen is not None and apart
        else None,
        features=context.features or pixels,
        limit=settings.gan_copies,
        about=f"Measured against {real}; features of {network}. {context.about}".strip(),
    )


def _trained(
    train: Cells,
    cells: Cells,
    settings: Any,
    seed: int,
    context: TechniqueContext,
    reviewer: "Reviewer",
) -> "tuple[Trained, dict[str, bytes]]":
    """A new generator of such cells of the training cells, and the files of its run."""
    if len(cells) < 2:
        raise UserError(
            f"the rarer class has {len(cells)} training cells: a GAN needs 2 or more; "
            "add cells, or choose another technique"
        )
    from leukemia.gan import artifacts, pictures, training

    config = training.resolved(config_of(settings, cells.images.shape[1]))
    terms = training.Terms(
        scorer=reviewer.scorer(), folder=context.folder, on_collapse=settings.gan_on_collapse
    )
    images = pictures.put_on(np.asarray(cells.images), config.size)
    of_others = None
    if config.conditional:
        of_others = pictures.put_on(train.images[train.labels != cells.labels[0]], config.size)
    trained = training.train(images, config, seed, context.report, terms, of_others)
    trained_on: dict[str, str | int] = {"digest": cells.digest(), "count": len(cells), "seed": seed}
    floor = reviewer.floor.get("floor_kid")
    title = f"GAN ({settings.gan}), {len(cells)} cells of {config.size} px"
    return trained, artifacts.files(trained, config, trained_on, floor, title, reviewer.about)
