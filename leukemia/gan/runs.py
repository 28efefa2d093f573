"""GANs of one plan and several seeds side by side: no two trainings agree, and here is by how
much they do not."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

# metric -> what people call it; the floor of each is what perfect cells would measure
MEASURES = {
    "made_kid": "KID",
    "made_fid": "FID",
    "made_precision": "precision",
    "made_recall": "recall",
    "made_density": "density",
    "made_coverage": "coverage",
    "made_probe_raw": "probe, raw",
    "made_probe_low": "probe, low-passed",
    "made_probe_high": "probe, high-passed",
    "made_copy_rate": "copies",
    "made_attack_distance": "attack by distance",
    "made_attack_discriminator": "attack by discriminator",
}


def table(by_seed: Mapping[int, Mapping[str, float]]) -> pd.DataFrame:
    """One row a measure: its value for each seed, mean and standard deviation over the seeds, and
    the floor, what the real training cells themselves would measure; NaN where there is none."""
    rows = {}
    for name, said in MEASURES.items():
        values = {f"seed {seed}": found.get(name, np.nan) for seed, found in by_seed.items()}
        several = np.array(list(values.values()))
        if np.isnan(several).all():
            continue
        floors = [found.get(name.replace("made_", "floor_"), np.nan) for found in by_seed.values()]
        rows[said] = {
            **values,
            "mean": np.nanmean(several),
            "sd": np.std(several, ddof=1) if len(several) > 1 else np.nan,
            "floor": floors[0] if len(set(floors)) == 1 else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("measure")


def as_text(found: pd.DataFrame, title: str, about: str) -> str:
    """The table for a terminal, with what it was measured on."""
    shown = found.map(lambda value: "-" if np.isnan(value) else f"{value:.3f}")
    return f"{title}\n{shown.reset_index().to_string(index=False)}\n{about}"
