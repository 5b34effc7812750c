"""The authors' Lightning checkpoints: which of their tensors is which of ours.

Their names are those of the code that the paper was published with (arXiv 2510.26614, February 2026).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from spedge.base.errors import InputError
from spedge.model.parts import EventInput, Pcn, TokenInput, Transformer
from spedge.model.spec import ModelSpec

from ..models.registry import make_model

_PREFIX = "model."
#: Ends of the names of what carries nothing that a model needs.
_OF_NO_USE = (".num_batches_tracked", ".kernel_size", ".is_open_spline")
_TRANSFORMER = {
    r"embedding\.linear": "embeddings.projection",
    r"encoder\.cls": "cls",
    r"encoder\.layers\.(\d+)\.attention_norm": r"encoder.layers.\1.norm_self_attention",
    r"encoder\.layers\.(\d+)\.query_key_value\.(\w+)": r"encoder.layers.\1.self_attn.in_proj_\2",
    r"encoder\.layers\.(\d+)\.projection": r"encoder.layers.\1.self_attn.out_proj",
    r"encoder\.layers\.(\d+)\.mlp_norm": r"encoder.layers.\1.norm_feed_forward",
    r"encoder\.layers\.(\d+)\.mlp_in": r"encoder.layers.\1.linear1",
    r"encoder\.layers\.(\d+)\.mlp_out": r"encoder.layers.\1.linear2",
    r"encoder\.norm": "norm",
    r"encoder\.head": "head.linear",
}
_GNN_LAYER = re.compile(r"classifier\.encoder\.layers\.(\d+)\.(conv|norm)\.(\w+)")
_PCN_MLP = re.compile(r"classifier\.(?:encoder\.stages\.(\d+)\.mlp|(points)|(head))\.(\d+)\.(\w+)")
#: Modules of our point MLPs: linear maps 0, 3, 6 and norms 1, 4; of the head linear maps alone.
_IN_MLP = {0: "lins.0", 1: "norms.0.module", 3: "lins.1", 4: "norms.1.module", 6: "lins.2"}


def theirs(name: str, spec: ModelSpec) -> str:
    """The authors' name of a tensor of our model's state."""
    return _PREFIX + (_of_transformer(name) if isinstance(spec.model, Transformer) else _of_graph(name, spec))


def _of_transformer(name: str) -> str:
    for ours, other in _TRANSFORMER.items():
        found = re.match(ours + r"(?=\.|$)", name)
        if found:
            return found.expand(other) + name[found.end() :]
    raise AssertionError(name)


def _of_graph(name: str, spec: ModelSpec) -> str:
    if name.startswith("embedding."):
        kind = "embedding" if isinstance(spec.representation, EventInput) else "projection"
        return f"embedding.{kind}.{name.rpartition('.')[2]}"
    layer = _GNN_LAYER.fullmatch(name)
    if layer:
        number, part, tensor = int(layer[1]) + 1, layer[2], layer[3]
        return f"{part}{number}.{'module.' if part == 'norm' else ''}{tensor}"
    if not isinstance(spec.model, Pcn):
        return name.replace("classifier.head", "fc")
    mlp = _PCN_MLP.fullmatch(name)
    assert mlp, name
    place = f"{_IN_MLP[int(mlp[4])]}.{mlp[5]}"
    if mlp[3]:
        return f"classifier.{place}"
    if mlp[2]:
        return f"sa{len(spec.model.radii) + 1}_module.nn.{place}"
    return f"sa{int(mlp[1]) + 1}_module.conv.local_nn.{place}"


def weights_of(state: Mapping[Any, Any], spec: ModelSpec, what: str) -> dict[str, Tensor]:
    """The state of our model from a checkpoint's `state_dict`, float32.

    what: the checkpoint, for sentences. Raises InputError naming the first tensor that is missing, of another shape, or
    that such a model does not have. Entries that are not the model's, such as metrics', are passed over.
    """
    with torch.device("meta"):
        own = make_model(spec).state_dict()
    weights, known = {}, set()
    for name, tensor in own.items():
        if name.endswith(_OF_NO_USE):
            weights[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
            continue
        other = theirs(name, spec)
        known.add(other)
        weights[name] = _one(state, other, _shape_of_theirs(name, tensor.shape, spec), spec, what).reshape(tensor.shape)
    for other, value in state.items():
        of_model = isinstance(other, str) and other.startswith(_PREFIX) and not other.endswith(_OF_NO_USE)
        if of_model and isinstance(value, Tensor) and other not in known:
            raise InputError(f"{what} has {other}, which no {_like(spec)} has: give the --preset that it is of.")
    return weights


def _one(state: Mapping[Any, Any], name: str, shape: tuple[int, ...], spec: ModelSpec, what: str) -> Tensor:
    value = state.get(name)
    if not isinstance(value, Tensor):
        found = "lacks" if value is None else "has no tensor at"
        raise InputError(f"{what} {found} {name}, which every {_like(spec)} has: give the --preset that it is of.")
    if tuple(value.shape) != shape:
        sizes = " or --size" if isinstance(spec.model, Transformer) else ""
        raise InputError(
            f"{what} has {name} of shape {tuple(value.shape)}, and a {_like(spec)} {shape}: give the "
            f"--preset{sizes} that it is of."
        )
    return value.detach().to(torch.float32).contiguous()


def _like(spec: ModelSpec) -> str:
    return f"checkpoint of {spec.preset}"


def _shape_of_theirs(name: str, shape: torch.Size, spec: ModelSpec) -> tuple[int, ...]:
    """Theirs embeds by a convolution over the patch, whose kernel is (features, 2 * buckets, P, P)."""
    seen = spec.representation
    if isinstance(seen, TokenInput) and name in ("embedding.linear.weight", "embedding.weight"):
        return (shape[0], 2 * seen.embedding.buckets, seen.tokenizer.patch_size, seen.tokenizer.patch_size)
    return tuple(shape)
