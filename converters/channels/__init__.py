"""Which channels of a net stand and fall together, and how they are taken out of it."""
