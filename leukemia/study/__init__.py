"""Many runs: which trials there are, how they are launched, and what came of them."""
