"""What a module computes, as a graph: captured by `torch.export`, cleaned, and written as ONNX.

`captured.capture_graph` is the way in. The graph is PyTorch's own (torch.fx) in ATen operations;
each node knows the module that called it and the user's line.
"""
