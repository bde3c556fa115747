"""The plot: from a name on the command line to a bundle that ships."""
