"""How good the models are at their tasks: held-out questions, marks, trivial answers beside."""
