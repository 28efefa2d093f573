"""GANs of one config and several seeds side by side: no two trainings agree, and here is by how
much they do not."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

# metric -> what people call it; the floor of each is what perfect cells would measure
MEASURES = {
    "synth_kid": "KID",
    "synth_fid": "FID",
    "synth_precision": "precision",
    "synth_recall": "recall",
    "synth_density": "density",
    "synth_coverage": "coverage",
    "synth_probe_raw": "probe, raw",
    "synth_probe_low": "probe, low-passed",
    "synth_probe_high": "probe, high-passed",
    "synth_copy_rate": "copies",
    "synth_attack_distance": "attack by distance",
    "synth_attack_discriminator": "attack by discriminator",
}


def table(by_seed: Mapping[int, Mapping[str, float]]) -> pd.DataFrame:
    """One row a measure: its value for each seed, mean and standard deviation over the seeds, and
    the mean floor, what training cells in their place measure; NaN where there is none."""
    rows = {}
    for name, label in MEASURES.items():
        values = {f"seed {seed}": metrics.get(name, np.nan) for seed, metrics in by_seed.items()}
        several = np.array(list(values.values()))
        if np.isnan(several).all():
            continue
        floor = name.replace("synth_", "floor_")
        floors = [metrics[floor] for metrics in by_seed.values() if floor in metrics]
        rows[label] = {
            **values,
            "mean": np.nanmean(several),
            "sd": np.std(several, ddof=1) if len(several) > 1 else np.nan,
            "floor": np.mean(floors) if floors else np.nan,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("measure")


def as_text(table: pd.DataFrame, title: str, about: str) -> str:
    """The table for a terminal, with what it was measured on."""
    shown = table.map(lambda value: "-" if np.isnan(value) else f"{value:.3f}")
    return f"{title}\n{shown.reset_index().to_string(index=False)}\n{about}"
