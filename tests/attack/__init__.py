"""What an attacker, a bad disk or a kill does to files of ours, and what must come of it."""
