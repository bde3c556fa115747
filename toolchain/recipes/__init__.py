"""Which passes run for which target, what runs and checks them, and which layers they leave."""
