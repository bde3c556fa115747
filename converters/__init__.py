"""How a model is stored and run: one module or package a format."""
