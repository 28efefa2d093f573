"""Which technique against class imbalance really helps a leukemia cell classifier.

Cells flow one way: data -> split -> technique (training cells only) -> training -> evaluation
(test cells once) -> Outcome -> tracking -> ranking -> registry, and no room imports a later one.
Only the rooms `tracking`, `registry`, `serving` and `study` import mlflow.

Research use only; not for diagnosis.
"""

import os

# The one that everything here is written for, whatever a user's other programs have set.
os.environ["KERAS_BACKEND"] = "tensorflow"

__version__ = "0.1.0"

RESEARCH_ONLY = "Research use only; not for diagnosis."
