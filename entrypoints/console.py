"""What a person sees while a command works."""

import sys
import time
from collections.abc import Callable, Mapping

import click
import numpy as np

from leukemia.report import Report
from leukemia.text.escape import visible

WIDTH = 30
SECONDS_BETWEEN_LINES = 5.0


def say(*lines: str, err: bool = False) -> None:
    """Print lines, to standard error where `err`: what a terminal would obey is shown instead."""
    for line in lines:
        click.echo(visible(line), err=err)


def bar(title: str) -> Callable[[int, int], None]:
    """A progress bar for (done, total): it moves on a terminal, elsewhere it prints quarters."""
    quarters = set()

    def tell(done: int, total: int) -> None:
        fraction = done / max(total, 1)
        if sys.stderr.isatty():
            filled = "#" * round(WIDTH * fraction)
            end = "\n" if done >= total else ""
            click.echo(f"\r{title} [{filled:<{WIDTH}}] {done}/{total}{end}", nl=False, err=True)
        elif int(fraction * 4) not in quarters:
            quarters.add(int(fraction * 4))
            say(f"{title} {done}/{total}", err=True)

    return tell


def training(title: str, epochs: int) -> Report:
    """A listener that prints one line an epoch, and how far a long step has come."""

    last = time.monotonic()

    def tell(step: int, values: Mapping[str, float | np.ndarray]) -> None:
        nonlocal last
        numbers = {name: v for name, v in values.items() if not isinstance(v, np.ndarray)}
        line = _line(step, numbers, epochs)
        # Epochs of the classifier each have their line, those of a GAN one every few seconds.
        if line and ("val_loss" in numbers or time.monotonic() - last > SECONDS_BETWEEN_LINES):
            last = time.monotonic()
            say(f"{title}  {line}")

    return tell


def _line(step: int, numbers: Mapping[str, float], epochs: int) -> str:
    if "val_loss" in numbers:
        return (
            f"epoch {step}/{epochs}: train loss {numbers['train_loss']:.3f}, "
            f"validation loss {numbers['val_loss']:.3f}, "
            f"validation balanced accuracy {numbers['val_bal_acc']:.3f}, "
            f"{numbers['epoch_seconds']:.1f} s"
        )
    if "epoch_done" in numbers:
        return f"epoch {step}/{epochs}: {numbers['epoch_done']:.0%}"
    done = [
        f"{name.removesuffix('_done')} {v:.0%}"
        for name, v in numbers.items()
        if name[-5:] == "_done"
    ]
    if done:
        return f"balancing: {', '.join(done)}"
    if "gan_g_loss" in numbers:
        return (
            f"GAN epoch {step}: generator loss {numbers['gan_g_loss']:.3f}, discriminator loss "
            f"{numbers['gan_d_loss']:.3f}, accuracy real {numbers['gan_d_real']:.0%}, "
            f"fake {numbers['gan_d_fake']:.0%}"
        )
    return ""
