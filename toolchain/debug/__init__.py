"""Where a bundle parts from its model, and what this machine lacks."""
