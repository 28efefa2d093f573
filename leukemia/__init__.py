"""Which cure for class imbalance really helps a leukemia cell classifier.

Cells flow one way: data -> protocol -> technique (training cells only) -> training ->
evaluation (test cells once) -> Outcome -> tracking -> ranking -> registry.
Nothing but `tracking`, `logbook`, `board` and `registry` imports mlflow.

Research use only; not for diagnosis.
"""

__version__ = "0.1.0"

RESEARCH_ONLY = "Research use only; not for diagnosis."
