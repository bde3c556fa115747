"""`mlship bench`: what bundles take, beside what they were made of, on this machine."""
