"""How other programs and processes are spoken to."""
