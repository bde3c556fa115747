"""What fits a budget: shrinking and pruning step by step; which layers lose what."""
