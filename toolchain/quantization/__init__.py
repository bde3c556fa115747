"""What the passes that round share: grids, GPTQ, observers, ranges, sites."""
