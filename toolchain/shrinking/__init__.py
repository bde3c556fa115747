"""`mlship shrink`: the best metric that fits a budget of bytes, layer by layer."""
