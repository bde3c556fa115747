"""ONNX to a frozen TensorFlow graph in NHWC, for TFLite and for TF.js.

`read_graph` reads the file, `rewritten` applies the target's rewrites, `lower` emits one or
more TensorFlow operations for each of ONNX's, from a closed table; what is not in it, or not
exactly expressible, is refused by name. Importing the modules here loads TensorFlow, so that
only a conversion's own process does it; this package itself imports nothing.
"""

SCOPE = "Net"
"""Around every operation; no port is named like this, since ports are lower-case."""
