"""What the passes that round share: grids, observers, ranges, sensitivity."""
