"""Training of a GAN, from the first step to the best generator; killed, it goes on.

Every random draw is a function of the seed and of the place in the schedule, never of a global
state: the same seed gives the same generator, bit for bit, on the same machine.

Source: the thesis, section 4.4; the non-saturating loss is Goodfellow et al. 2014, section 3.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from leukemia.errors import UserError
from leukemia.gan import checkpoint, collapse, networks, pictures
from leukemia.gan.checkpoint import Progress
from leukemia.gan.config import GanConfig
from leukemia.gan.step import METRICS, Players, Step, compiled, players
from leukemia.model import precision
from leukemia.model.inference import predict
from leukemia.report import Report, nothing

LOOKS = 10  # how often in a training samples are shown and measured
CHECKPOINT_S = 30  # seconds between two checkpoints, at least
STEPS_A_READ = 16  # steps whose losses are read from the device at once
RESTARTS = 3
SEEN = 256  # images that a discriminator is shown at once
APART = 1_000_003  # between the seeds of two attempts
BEST = "gan_kid"  # the measure that chooses among the generators; less is better


@dataclass(frozen=True, kw_only=True)
class SampleScorer:
    """Measures made images: `measure` takes `count` of them, (count, S, S, 3) uint8, and returns
    figures by name, BEST among them."""

    count: int
    measure: Callable[[np.ndarray], dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a training may use besides its images.

    scorer: measures samples about ten times; the best generator is kept. None: the last is.
    folder: where the unfinished training lies, so that it can go on. None: it cannot.
    saved: called each time after that was brought up to date.
    on_collapse: stop with an error, restart with another seed at most three times, or ignore.
    """

    scorer: SampleScorer | None = None
    folder: Path | None = None
    saved: Callable[[], None] = nothing
    on_collapse: str = "ignore"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The outcome of a training.

    generator: float32, of the chosen epoch. discriminator: of the last epoch, images to logits.
    progress: what was measured on the way.
    """

    generator: keras.Model
    discriminator: keras.Model
    progress: Progress

    @property
    def chosen_epoch(self) -> int:
        """The epoch that the generator is of."""
        return self.progress.best_epoch or self.progress.epoch


class Collapse(Exception):
    """A collapse, in words that name the step; epoch: after which."""

    def __init__(self, epoch: int, text: str):
        super().__init__(text)
        self.epoch = epoch


def train(
    images: np.ndarray,
    config: GanConfig,
    seed: int,
    report: Report,
    terms: Terms = Terms(),
    others: np.ndarray | None = None,
) -> Trained:
    """Train both players, and keep the best generator.

    An epoch shows every image once in a new order, less the rest that fills no batch; and as many
    of the others, drawn anew each epoch.

    images: (n, size, size, 3) uint8. others: (m, size, size, 3) uint8, of another kind; with a
        conditional config and with no other.
    report: is called with epochs 1, 2, ... and the epoch's means `gan_g_loss`, `gan_d_loss`,
        `gan_d_real` and `gan_d_fake` (share of real and of made images that the
        discriminator tells rightly, in [0, 1]) and `gan_seconds`; at about ten epochs also
        with the scorer's figures and with `gan_samples`, a picture of 32 made images, always
        from the same latent vectors. A training that goes on reports its past once more; one
        that begins anew counts its epochs on.

    Raises:
        UserError: a loss is no longer a finite number or the training collapsed, and it is not
            to begin anew or has done so three times; the checkpoint cannot be written.
    """
    if config.conditional != (others is not None):
        raise ValueError("others go with a conditional config, and with no other")
    config, before = resolved(config), 0
    for attempt in range(RESTARTS + 1):
        course = _Course(images, others, config, seed, _later(report, before), terms, attempt)
        try:
            return course.run()
        except Collapse as collapsed:
            if terms.on_collapse != "restart" or attempt == RESTARTS:
                raise UserError(
                    f"{collapsed}: lower the learning rate, train fewer epochs, or choose "
                    f"another seed"
                ) from None
            before += collapsed.epoch
            report(before, {"gan_restarts": attempt + 1.0})
    raise AssertionError("the last attempt returns or raises")


def resolved(config: GanConfig) -> GanConfig:
    """The config with the precision that this machine is faster in, where that was left to it."""
    return replace(config, precision=precision.resolved(config.precision))


class _Course:
    """One attempt at a training, from its beginning or from its checkpoint."""

    def __init__(
        self,
        images: np.ndarray,
        others: np.ndarray | None,
        config: GanConfig,
        seed: int,
        report: Report,
        terms: Terms,
        attempt: int,
    ):
        self._wanted, self._plan, self._report, self._terms = len(images), config, report, terms
        self._images = images if others is None else np.concatenate([images, others])
        self._seed = seed + attempt * APART
        self._mark = checkpoint.fingerprint(self._images, config, self._seed)
        self._folder = terms.folder and terms.folder / f"attempt_{attempt}"
        self._players: Players = players(config, self._seed)
        self._batch_size = min(config.batch_size, len(self._order(0)))
        self._shown = pictures.latent(int(np.prod(pictures.GRID)), config.latent, self._seed)
        self._real_spread = collapse.spread(images) or 1.0  # of equal images
        self._looks = looks(config.epochs)
        self._progress = self._recalled()
        self._saved = time.monotonic()

    def run(self) -> Trained:
        """Go on to the last epoch."""
        step = compiled(self._players, self._plan, self._batch_size, self._seed)
        for epoch in range(self._progress.epoch + 1, self._plan.epochs + 1):
            self._train_epoch(step, epoch)
            if epoch in self._looks:
                self._look(epoch)
            self._progress.epoch = epoch
            self._warn(epoch)
            self._save(epoch == self._plan.epochs)
        discriminator = self._players.discriminator
        if self._plan.conditional:
            discriminator = keras.Model(discriminator.input, discriminator.output[:, :1])
        return Trained(
            generator=self._generator(self._progress.best),
            discriminator=discriminator,
            progress=self._progress,
        )

    def _recalled(self) -> Progress:
        """The progress in the checkpoint, reported once more, with its state set; else none."""
        variables = self._players.variables()
        there = self._folder and checkpoint.restore(self._folder, self._mark, variables)
        progress = there or Progress()
        for epoch in range(1, progress.epoch + 1):
            values = {k: by[epoch] for k, by in progress.history.items() if epoch in by}
            shown = {"gan_samples": progress.grids[epoch]} if epoch in progress.grids else {}
            self._report(epoch, {**values, **shown})
        return progress

    def _train_epoch(self, step: Step, epoch: int) -> None:
        start = time.perf_counter()
        order = self._order(epoch)
        steps = len(order) // self._batch_size
        losses: list[np.ndarray] = []
        waiting: list[tf.Tensor] = []
        for number, rows in enumerate(np.split(order[: steps * self._batch_size], steps)):
            place = np.int64((epoch - 1) * steps + number)
            waiting.append(step(self._images[rows], rows >= self._wanted, place))
            if len(waiting) == STEPS_A_READ or number == steps - 1:
                losses.append(tf.stack(waiting).numpy())
                waiting = []
                self._hold_finite(losses[-1], epoch, number + 1)
        of_epoch = np.concatenate(losses)
        self._progress.steps = np.concatenate([self._progress.steps, of_epoch])
        values = dict(zip(METRICS, of_epoch.mean(0, dtype=np.float64).tolist(), strict=True))
        self._note(epoch, {**values, "gan_seconds": time.perf_counter() - start})

    def _order(self, epoch: int) -> np.ndarray:
        """The rows of the images in the order of an epoch."""
        rng = np.random.default_rng((self._seed, epoch))
        others = np.arange(self._wanted, len(self._images))
        drawn = rng.choice(others, min(len(others), self._wanted), replace=False)
        return rng.permutation(np.concatenate([np.arange(self._wanted), drawn]))

    def _hold_finite(self, losses: np.ndarray, epoch: int, done: int) -> None:
        bad = collapse.first_bad_step(losses)
        if bad is not None:
            step = done - len(losses) + bad + 1
            raise Collapse(
                epoch,
                f"the GAN's loss is not a finite number in step {step} of epoch {epoch}",
            )

    def _look(self, epoch: int) -> None:
        """Show samples, measure them, and keep the generator if it is the best."""
        generator = self._generator()
        samples = pictures.paint(generator, self._shown)
        self._progress.grids[epoch] = pictures.grid(samples)
        self._report(epoch, {"gan_samples": self._progress.grids[epoch]})
        self._note(epoch, {"gan_spread": collapse.spread(samples) / self._real_spread})
        scorer = self._terms.scorer
        if scorer is None:
            return
        made = pictures.generate(generator, scorer.count, self._seed)
        self._note(epoch, scorer.measure(made))
        measured = self._progress.history[BEST]
        if measured[epoch] == min(measured.values()):
            self._progress.best_epoch = epoch
            self._progress.best = generator.get_weights()

    def _warn(self, epoch: int) -> None:
        """Raise or report what the detectors find."""
        finding = self._finding(epoch)
        if finding and self._terms.on_collapse != "ignore":
            raise Collapse(epoch, finding)
        if finding and "gan_collapse" not in self._progress.history:
            self._note(epoch, {"gan_collapse": 1.0})

    def _finding(self, epoch: int) -> str | None:
        history, epochs = self._progress.history, self._plan.epochs
        on_real, on_made = (list(history[name].values()) for name in ("gan_d_real", "gan_d_fake"))
        if collapse.pinned(on_real, on_made, epochs):
            return (
                f"the GAN's discriminator has recognised over {collapse.PINNED:.0%} of real and "
                f"made images for {collapse.patience(epochs)} epochs, up to epoch {epoch}"
            )
        if epoch in self._looks and collapse.uniform(history["gan_spread"][epoch], epoch, epochs):
            return f"the GAN's images are all but one image at epoch {epoch}"
        return None

    def _save(self, is_last: bool) -> None:
        """A checkpoint now and then, and one at the end."""
        due = is_last or time.monotonic() - self._saved > CHECKPOINT_S
        if self._folder and due:
            checkpoint.save(self._folder, self._mark, self._players.variables(), self._progress)
            self._terms.saved()
            self._saved = time.monotonic()

    def _generator(self, best: list[np.ndarray] | None = None) -> keras.Model:
        """A generator of the wanted images that computes in float32: the best, else the last."""
        generator = networks.generator(replace(self._plan, conditional=False), self._seed)
        last = self._players.mean.get_weights()
        generator.set_weights(best or networks.first_kind(self._plan, last))
        return generator

    def _note(self, epoch: int, values: dict[str, float]) -> None:
        self._progress.note(epoch, values)
        self._report(epoch, values)


def logits(discriminator: keras.Model, images: np.ndarray) -> np.ndarray:
    """(n,) float32: how real the discriminator takes images (n, S, S, 3) uint8 to be."""
    side, told = discriminator.input_shape[1], []
    for start in range(0, len(images), SEEN):
        seen = pictures.put_on(images[start : start + SEEN], side).astype(np.float32) / 127.5 - 1
        told.append(predict(discriminator, seen)[:, 0])
    return np.concatenate(told)


def looks(epochs: int) -> set[int]:
    """The first epoch, the last, and eight between them at even distances (or all there are)."""
    return set(np.linspace(1, epochs, LOOKS).round().astype(int).tolist())


def _later(report: Report, before: int) -> Report:
    """A report whose epochs are counted on from `before`."""
    return lambda epoch, values: report(before + epoch, values)
