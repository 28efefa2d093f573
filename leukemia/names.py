"""Words that the commands and the core share; importing them costs nothing."""

PROTOCOLS = ("subject", "official", "image", "thesis")  # described in `protocol`
APART = ("subject", "official")  # those that mean to keep a subject on one side
PRIMARY = ("bal_acc", "wf1", "f1", "acc", "auroc", "auprc")  # what a ranking can go by
FOLDS = 5  # 80 % to learn from and 20 % to test, as in the thesis, section 3.3
# What the interval of the gain over the baseline must say before a classifier is registered.
GAINS = ("possible", "sure", "any")
# Kinds of leak that the audit finds and that a ranking can be told to overlook.
LEAKS = ("identical", "alike", "subject", "made", "copies", "labels")
# Environment of a run that a study started: how many runs shared the machine.
WORKERS = "LEUKEMIA_WORKERS"
