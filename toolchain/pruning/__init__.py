"""Which channels, and which numbers of kernels, a net can do without."""
