"""The picture of a shortcut probe: what the network saw, how well it separated, and spectra."""

import numpy as np
from matplotlib.figure import Figure

from leukemia.evaluation.plots import DPI, render
from leukemia.synthetic.shortcut import Shortcut, central, high_passed, low_passed, power_spectrum

SHOWN = 4  # images of each kind


def figure(shortcut: Shortcut, real: np.ndarray, made: np.ndarray, footnote: str) -> np.ndarray:
    """(H, W, 3) uint8: a row a view with real images on the left and made ones on the right,
    the accuracies against chance, and the power of both kinds by frequency."""
    whole = Figure((9, 7.2), dpi=DPI)
    rows = whole.add_gridspec(4, 2, height_ratios=[1, 1, 1, 2.2])
    seen = central(np.concatenate([real[:SHOWN], made[:SHOWN]]))
    for place, (view, images) in enumerate(
        {"raw": seen, "low": low_passed(seen), "high": high_passed(seen)}.items()
    ):
        axes = whole.add_subplot(rows[place, :])
        strip = np.concatenate(list(np.clip(images, 0, 255).astype(np.uint8)), axis=1)
        axes.imshow(strip)
        axes.set_title(f"{view}: {SHOWN} real, then {SHOWN} made", size=8)
        axes.set_axis_off()
    axes = whole.add_subplot(rows[3, 0])
    for place, each in enumerate(shortcut.accuracy.values()):
        reach = np.abs(np.array([[each.low], [each.high]]) - each.value)
        axes.errorbar(place, each.value, np.nan_to_num(reach), fmt="o", capsize=4, color="C0")
    axes.axhline(0.5, ls=":", color="grey")
    axes.set_xticks(range(len(shortcut.accuracy)), list(shortcut.accuracy))
    axes.set(ylabel="balanced accuracy, made or real", ylim=(0.2, 1.03))
    axes = whole.add_subplot(rows[3, 1])
    for name, images in (("real", real), ("made", made)):
        axes.semilogy(power_spectrum(images)[1:], label=name)
    axes.set(xlabel="waves across the image", ylabel="power")
    axes.legend(fontsize=8)
    return render(whole, "Can synthetic cells be recognised?", footnote)
