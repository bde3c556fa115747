"""Graphs of torch.export: what is done to one before any converter sees it."""
