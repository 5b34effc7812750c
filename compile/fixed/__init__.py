"""ONNX files that are no token encoder: graphs of fixed shapes, any supported operator."""
