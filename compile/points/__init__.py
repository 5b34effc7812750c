"""Classifiers on graphs, by a GNN or a PCN: their ONNX graph to layers, and these to loops over points and edges."""
