"""The environments of the tools that we are compared with."""
