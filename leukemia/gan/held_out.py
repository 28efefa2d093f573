"""Which cells a GAN does not learn from, so that its best epoch can be chosen on them."""

import numpy as np

SHARE = 0.2  # of the subjects
MOST_CELLS = 1 / 3  # of the cells: what is held out is not learned from
FEWEST = 8  # subjects: with fewer, none can be spared


def held_out(subjects: np.ndarray, seed: int) -> np.ndarray:
    """(n,) bool: the cells of a fifth of the subjects (n,) str, drawn by lot; none where there are
    fewer than FEWEST, or fewer than two can be held out (a distance needs two).

    A subject with whom more than a third of the cells would be held out is passed over.
    """
    names, sizes = np.unique(subjects, return_counts=True)
    nobody = np.zeros(len(subjects), bool)
    if len(names) < FEWEST:
        return nobody
    chosen: list[int] = []
    for place in np.random.default_rng(seed).permutation(len(names)):
        fits = sizes[[*chosen, place]].sum() <= MOST_CELLS * len(subjects)
        if fits and len(chosen) < max(2, round(SHARE * len(names))):
            chosen.append(int(place))
    return np.isin(subjects, names[chosen]) if len(chosen) > 1 else nobody
