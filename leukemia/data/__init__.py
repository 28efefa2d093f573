"""Where cells come from: the C-NMC 2019 tree, a table of one's own, or the drawn sample."""
