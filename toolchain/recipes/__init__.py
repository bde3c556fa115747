"""Which passes run for which target, and the pipeline that runs and checks them."""
