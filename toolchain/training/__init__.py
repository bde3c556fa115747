"""From an untrained net to weights that it ships with: tasks, and the loop that they share."""
