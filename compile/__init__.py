"""spedge.compile: a bundle to C for the firmware (onnx, tvm)."""
