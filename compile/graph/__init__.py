"""The model as a graph of row operations: imported from ONNX, rewritten, quantised, and computed for comparison."""
