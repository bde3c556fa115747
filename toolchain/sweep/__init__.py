"""Many builds at once: variants of one model that are trained and compared, and matrices."""
