"""The commands of `mlship apply`; one file a command."""
