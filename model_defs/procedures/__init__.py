"""Code that runs around a net, in numpy: what the net is for."""
