"""Export bundles again with this version, without their checkpoints: the weights are read from the graphs.

    python tools/export_again.py BUNDLE...    # in place: the bundle's hash changes, the model and its accuracy do not

Needs spedge[train].
"""

from __future__ import annotations

import sys

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from spedge.base.errors import CheckFailed
from spedge.model.bundle import Bundle
from spedge.model.parts import Classification, TokenInput, Transformer
from spedge.model.reference import Reference
from spedge.training.export.bundle import export_model
from spedge.training.models.registry import make_model

TOLERANCE = 1e-6  # of a logit, between the old encoder and the new one


def weights_of(bundle: Bundle) -> dict[str, torch.Tensor]:
    """The state of `Classifier`. torch's exporter keeps names but of what it transposes, which stands beside a bias."""
    graph = onnx.load(bundle.file("encoder.onnx")).graph
    values = {value.name: numpy_helper.to_array(value) for value in graph.initializer}
    made_by = {output: node for node in graph.node for output in node.output}
    weights = {
        f"encoder.{name}": value for name, value in values.items() if name.rpartition(".")[2] in ("weight", "bias")
    }
    for node in graph.node:
        biases = [name for name in node.input if name.endswith(".bias")]
        product = next((made_by[name] for name in node.input if name in made_by), None)
        if node.op_type == "Add" and biases and product is not None and product.op_type == "MatMul":
            weights[f"encoder.{biases[0].removesuffix('bias')}weight"] = values[product.input[1]].T
    _, _, transformer = bundle.parts("this tool", Classification, TokenInput, Transformer)
    if transformer.attention == "full":
        weights["encoder.cls"] = next(v for v in values.values() if v.shape == (1, 1, transformer.hidden))
    weight, bias = bundle.embedding_arrays()
    weights |= {"embedding.linear.weight": weight, "embedding.linear.bias": bias}
    return {name: torch.from_numpy(value.copy()) for name, value in weights.items()}


def export_again(path: str) -> None:
    """Raises CheckFailed when the new encoder is not the old one; the bundle stays as it is then."""
    bundle = Bundle.load(path)
    spec = bundle.plain()
    model = make_model(spec)
    model.load_state_dict(weights_of(bundle))
    vectors = bundle.vectors()
    for vector in vectors:
        rows, length = torch.from_numpy(vector.embedded[None]), torch.tensor([len(vector.embedded)])
        with torch.no_grad():
            new = model.eval().encoder(rows, length)[0].numpy()
        worst = float(np.abs(new - Reference(bundle).encode(vector.embedded)).max())
        if not worst <= TOLERANCE * max(1.0, float(np.abs(new).max())):
            raise CheckFailed(
                f"{path}: the weights that were found give other logits, by {worst:.1e}: nothing is written"
            )
    events = [vector.events for vector in vectors]
    print(export_model(model, spec, events, bundle.path, bundle.calibration()).hash)


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        export_again(argument)
