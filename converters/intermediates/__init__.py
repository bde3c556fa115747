"""What a model computes on the way from its inputs to its outputs, layer by layer.

`traced` runs PyTorch's own graph one operation at a time; `backends` reads what runtimes
computed, and `names` says which of PyTorch's values that was.
"""
