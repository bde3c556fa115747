"""ONNX files as models: read, checked, made into plain torch, and proved against ONNX's own."""
