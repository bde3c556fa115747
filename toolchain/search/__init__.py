"""What fits a budget: shrinking and pruning step by step."""
