"""Core ML: programs written by coremltools, stored compactly, run in our interpreter."""
