"""What `mlship` measures with: bytes, milliseconds, memory, budgets, significance."""
