"""What a model computes on the way from its inputs to its outputs, layer by layer.

`traced` runs PyTorch's own graph one operation at a time; by a `guide` each format's own
`intermediates` say which of PyTorch's values it was that a runtime computed.
"""
