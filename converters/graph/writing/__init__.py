"""A captured graph as ONNX: one function an operation of ATen, in a closed table.

`onnx_model` is the way in. PyTorch's own exporters are not used: the old one is deprecated and
refuses much, the new one takes 2 to 3 s and names nothing after the user's modules.
"""
