"""The start of the paper's base transformers: ViT-MAE's weights, pretrained on images (He et al. 2022).

Encoder layers, CLS and the last LayerNorm are taken over; the table of positions is not. Where patches have 16 pixels
the embedding takes the patch kernel, averaged over its colours and copied to every channel of a token undivided, with
its bias. The classifier's linear map begins as torch's does (experiments of arXiv 2510.26614).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from spedge.base.errors import InputError, UsageError
from spedge.model.parts import TokenInput, Transformer
from spedge.model.spec import ModelSpec

from ..models.registry import make_model
from ..presets.base import SIZES
from .hub import FILES, fetch, is_name
from .reading import read_tensors, sha256_of

BASE = SIZES["base"]
PATCH = 16
_LAYER = re.compile(r"(?:vit\.)?(?:encoder\.)?layers?\.(\d+)\.(.+)\.(weight|bias)")
#: Modules of a layer, as transformers before 5 named them, as it has since, and ours.
_IN_LAYER = {
    "attention.attention.query": "query", "attention.q_proj": "query",
    "attention.attention.key": "key", "attention.k_proj": "key",
    "attention.attention.value": "value", "attention.v_proj": "value",
    "attention.output.dense": "projection", "attention.o_proj": "projection",
    "intermediate.dense": "mlp_in", "mlp.fc1": "mlp_in",
    "output.dense": "mlp_out", "mlp.fc2": "mlp_out",
    "layernorm_before": "attention_norm",
    "layernorm_after": "mlp_norm",
}  # fmt: skip
_KERNEL = "embedding.linear.weight"
_OUTSIDE = {
    "embeddings.cls_token": "encoder.cls",
    "embeddings.patch_embeddings.projection.weight": _KERNEL,
    "embeddings.patch_embeddings.projection.bias": "embedding.linear.bias",
    "layernorm.weight": "encoder.norm.weight",
    "layernorm.bias": "encoder.norm.bias",
}


@dataclass(frozen=True)
class Start:
    """What a new model begins with. weights: by the names of our model's state. sha256: of their file."""

    weights: Mapping[str, Tensor]
    sha256: str

    def put_into(self, model: Any) -> None:
        """Take the weights over; the classifier's linear map is drawn from torch's generator."""
        model.load_state_dict(self.weights, strict=False)
        model.encoder.head.reset_parameters()


def require_base(spec: ModelSpec) -> None:
    """Raises UsageError for a model that cannot begin so: any but the transformer of size base."""
    model = spec.model
    if not isinstance(model, Transformer):
        raise UsageError(f"'{spec.preset}' is a {model.type}, which has no weights to start from: leave out --start.")
    if (model.hidden, model.intermediate, model.heads, model.layers) != BASE:
        raise UsageError("The weights of ViT-MAE are for transformers of size base: leave out --start, or --size.")


def load_start(given: str, spec: ModelSpec) -> Start:
    """Weights of a file, of a folder with one of `hub.FILES`, or of a repository of the hub, for that model.

    Raises UsageError for a model that is not of size base; InputError where there are none, or they do not fit.
    """
    require_base(spec)
    path = Path(given)
    if path.is_dir():
        found = [path / name for name in FILES if (path / name).is_file()]
        if not found:
            raise InputError(f"The folder {given} has no {' or '.join(FILES)}: give --start the file of the weights.")
        path = found[0]
    elif not path.exists():
        if not is_name(given):
            raise InputError(f"There is no file {given}: give --start a file of weights, or facebook/vit-mae-base.")
        path = fetch(given)
    return Start(weights_of(read_tensors(path), spec, given), sha256_of(path))


def weights_of(tensors: Mapping[str, Tensor], spec: ModelSpec, what: str) -> dict[str, Tensor]:
    """The part of our model's state that ViT-MAE's gives, float32, of either naming.

    what: where they are from, for sentences. Raises InputError naming the first tensor that does not fit.
    """
    seen = spec.representation
    assert isinstance(seen, TokenInput)
    weights = _named_as_ours(tensors)
    random: tuple[str, ...] = ("encoder.head.", "encoder.contribution.")
    if seen.tokenizer.patch_size != PATCH:
        random += ("embedding.",)
    weights = {name: value for name, value in weights.items() if not name.startswith(random)}
    if _KERNEL in weights and weights[_KERNEL].dim() == 4:
        grey = weights[_KERNEL].mean(1, keepdim=True).expand(-1, 2 * seen.embedding.buckets, -1, -1)
        weights[_KERNEL] = grey.reshape(len(grey), -1)
    with torch.device("meta"):
        own = make_model(spec).state_dict()
    for name, tensor in own.items():
        if name.startswith(random):
            continue
        if name not in weights:
            raise InputError(f"{what} lacks what becomes {name}: it is no ViT-MAE of size base.")
        if weights[name].shape != tensor.shape:
            shapes = f"{tuple(weights[name].shape)}, and not {tuple(tensor.shape)}"
            raise InputError(f"{what} has what becomes {name} of shape {shapes}: it is no ViT-MAE of size base.")
    for name in weights:
        if name not in own and name != "encoder.cls":  # causal attention has none
            raise InputError(f"{what} has {name}, which the model has not: it is no ViT-MAE of size base.")
    return {name: value.to(torch.float32) for name, value in weights.items() if name in own}


def _named_as_ours(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the encoder alone: queries, keys and values are packed."""
    found: dict[str, Tensor] = {}
    for name, value in tensors.items():
        layer, outside = _LAYER.fullmatch(name), _OUTSIDE.get(name.removeprefix("vit."))
        if outside:
            found[outside] = value
        elif layer and layer[2] in _IN_LAYER:
            found[f"encoder.layers.{layer[1]}.{_IN_LAYER[layer[2]]}.{layer[3]}"] = value
    for query in [name for name in found if ".query." in name]:
        parts = [found.pop(query.replace("query", part), None) for part in ("query", "key", "value")]
        there = [part for part in parts if part is not None]
        if len(there) == 3:
            found[query.replace("query", "query_key_value")] = torch.cat(there)
    return found
