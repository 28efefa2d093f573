"""How a GAN is trained: every ingredient is a value here, and two recipes are named.

thesis: the thesis' section 4.4 as it stands. modern: what helps with a few thousand images or
fewer, each with its source beside it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from leukemia.errors import UserError

AUGMENTS = ("none", "turns", "all")
LOSSES = ("binary", "categorical", "hinge")
PRECISIONS = ("float32", "bfloat16", "auto")
ON_COLLAPSE = ("stop", "restart", "ignore")
SMALLEST = 4  # px, side of the smallest feature map
LARGEST = 8


def _field(default: Any, help: str, choices: tuple[str, ...] | None = None) -> Any:
    """A field with the text and the choices of its option."""
    return field(default=default, metadata={"help": help, "choices": choices})


@dataclass(frozen=True, kw_only=True)
class GanConfig:
    """How a GAN is trained: what each field is stands beside it, here where it comes from and more.

    discriminator_rate: two time scales, Heusel et al. 2017 (arXiv 1706.08500).
    loss: binary: cross-entropy, non-saturating (Goodfellow et al. 2014). categorical: the
        thesis' failed experiment; over one output it is 0 for any score, so nothing learns.
        hinge: Lim & Ye 2017 (arXiv 1705.02894).
    smoothing: Salimans et al. 2016 (arXiv 1606.03498).
    spectral: every weight of the discriminator divided by its largest singular value
        (Miyato et al. 2018, arXiv 1802.05957).
    r1: half of this times the squared gradient at real images is added to the discriminator's
        loss (Mescheder et al. 2018, arXiv 1801.04406).
    augment: turns: turned and mirrored; all: shifted, lightened and partly covered as well (Zhao
        et al. 2020, arXiv 2006.10738).
    ema, norm: Karras et al. 2018 (arXiv 1710.10196); 0: the generator itself makes the images.
    eight_bit: rounded, with the gradient of the unrounded: exact black, which tanh only
        approaches, does not give made images away.
    merged: false: one step on real, one on made, and new made images for the generator, as the
        thesis prints both accuracies apart.
    shared: a quarter less work; the generator then learns from the discriminator as it was before
        its step on the same images. With the binary loss only.
    conditional: the discriminator has an output for each kind; only the first kind is made. Mirza
        & Osindero 2014 (arXiv 1411.1784).
    precision: weights are float32 in any case. auto: bfloat16 where this machine has instructions
        for it.

    Raises:
        UserError: a value is out of its range.
    """

    size: int = _field(128, "side in pixels of the images")
    latent: int = _field(100, "length of the vector that an image is made from")
    epochs: int = _field(1000, "epochs; each shows every image once")
    batch_size: int = _field(128, "images in a step")
    learning_rate: float = _field(1e-4, "Adam's learning rate, of both networks")
    beta_1: float = _field(0.5, "Adam's beta_1, of both networks")
    discriminator_rate: float = _field(1.0, "factor on the discriminator's learning rate")
    loss: str = _field("binary", "loss of both networks", LOSSES)
    smoothing: float = _field(0.0, "real images are to be called 1 less this")
    spectral: bool = _field(False, "spectral normalisation of the discriminator")
    r1: float = _field(0.0, "weight of the gradient penalty R1, 0: none")
    augment: str = _field("none", "differentiable augmentation for the discriminator", AUGMENTS)
    ema: float = _field(0.0, "share that the generator's running mean keeps a step, 0: none")
    norm: bool = _field(False, "unit mean square of the generator's features at every pixel")
    eight_bit: bool = _field(False, "made images reach the discriminator at 8 bits")
    merged: bool = _field(False, "one step on real and made images together")
    shared: bool = _field(False, "both networks learn from one pass over made images")
    conditional: bool = _field(False, "both classes teach the GAN, each under its label")
    precision: str = _field("float32", "precision of the convolutions", PRECISIONS)

    def __post_init__(self) -> None:
        halvings(self.size)
        for name in ("latent", "epochs", "batch_size"):
            self._hold(name, getattr(self, name) >= 1, "1 or more")
        for name in ("learning_rate", "discriminator_rate"):
            self._hold(name, getattr(self, name) > 0, "more than 0")
        for name in ("beta_1", "ema", "smoothing"):
            self._hold(name, 0 <= getattr(self, name) < 1, "0 or more and less than 1")
        self._hold("r1", self.r1 >= 0, "0 or more")
        self._hold("loss", self.loss in LOSSES, f"one of {', '.join(LOSSES)}")
        self._hold("loss", not self.shared or self.loss == "binary", "binary, or shared=false")
        self._hold("augment", self.augment in AUGMENTS, f"one of {', '.join(AUGMENTS)}")
        self._hold("precision", self.precision in PRECISIONS, f"one of {', '.join(PRECISIONS)}")

    @property
    def kinds(self) -> int:
        """How many kinds of images the networks are told of: 0 where there is but one."""
        return 2 if self.conditional else 0

    def _hold(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            words = name.replace("_", " ")
            raise UserError(f"the GAN's {words} is {getattr(self, name)}: give {expected}")


def halvings(size: int) -> int:
    """How often a side of `size` px can be halved, down to 4 to 8 px.

    Raises:
        UserError: it cannot.
    """
    times = 0
    while size > LARGEST and size % 2 == 0:
        size, times = size // 2, times + 1
    if not (SMALLEST <= size <= LARGEST and times):
        raise UserError(
            f"a GAN of {size << times} px cannot be built: choose a size that halves down to 4 to "
            f"8 px, as 32, 48, 64, 96, 128 or 224"
        )
    return times


def canvas(side: int) -> int:
    """The smallest size of a GAN that holds images of `side` px: 48 for 48, 224 for 210."""
    step = 2
    while side > LARGEST * step:
        step *= 2
    return -(-side // step) * step


THESIS = GanConfig()
MODERN = replace(
    THESIS,
    learning_rate=2e-4,
    batch_size=32,
    beta_1=0.0,
    discriminator_rate=2.0,
    loss="hinge",
    spectral=True,
    ema=0.999,
    norm=True,
    eight_bit=True,
    merged=True,
    precision="auto",
)
RECIPES = {"thesis": THESIS, "modern": MODERN}
