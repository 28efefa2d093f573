"""Records of runs in, verdicts out: pure functions, no server."""
