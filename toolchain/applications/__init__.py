"""Pictures in, pictures out: a model and the procedure around it, one file a model."""
