"""How good the models are at their tasks: metrics over held-out samples, trivial rules beside."""
