"""Which channels a net can do without."""
