"""The champion: what may be registered, who moved it, and how it is loaded again."""

# What the interval of the gain over the baseline must say before a classifier is registered.
GAINS = ("possible", "sure", "any")
