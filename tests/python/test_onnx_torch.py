"""Models as torch exports them, by both of its exporters and in every operator set from 9 to 23, as C against torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from spedge.compile import CompileError, compile_onnx
from tests.needs import needs

from .onnx_models import Library

if TYPE_CHECKING:
    from torch import nn

needs("tvm", "torch", "onnxscript", "cc")

OLDEST, NEWEST = 9, 23
DYNAMO_OLDEST = 18  # what its translations are written in
TOLERANCE = 1e-5


def cnn() -> tuple[nn.Module, tuple[int, ...]]:
    """Convolutions, plain and by channel, with normalisation, pooling and dropout."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout2d(0.2),
        nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.LeakyReLU(), nn.Conv2d(8, 12, 1), nn.Hardswish(), nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.3), nn.Linear(12, 5), nn.Softmax(1),
    ), (1, 2, 12, 12)  # fmt: skip


def perceptron() -> tuple[nn.Module, tuple[int, ...]]:
    """Linears with layer normalisation and activations."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(12, 16), nn.LayerNorm(16), nn.SiLU(), nn.Linear(16, 16), nn.ELU(), nn.PReLU(), nn.Linear(16, 16),
        nn.Hardsigmoid(), nn.GELU(), nn.Linear(16, 3), nn.Sigmoid(),
    ), (1, 12)  # fmt: skip


def attention() -> tuple[nn.Module, tuple[int, ...]]:
    """A transformer's layer by matrix products."""
    from torch import nn

    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv, self.out, self.norm = nn.Linear(16, 48), nn.Linear(16, 4), nn.LayerNorm(16)

        def forward(self, x: Any) -> Any:
            q, k, v = self.qkv(x).reshape(1, 9, 3, 2, 8).permute(2, 0, 3, 1, 4).unbind(0)
            mixed = (q @ k.transpose(-1, -2) / 8**0.5).softmax(-1) @ v
            return self.out(self.norm(x + mixed.transpose(1, 2).reshape(1, 9, 16)).mean(1))

    return Encoder(), (1, 9, 16)


def layer() -> tuple[nn.Module, tuple[int, ...]]:
    """torch's own transformer layer: one operator for its attention, which ONNX has from set 23 on."""
    from torch import nn

    one = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True, activation="gelu", norm_first=True)
    return nn.Sequential(one, nn.LayerNorm(16)), (1, 9, 16)


def parts() -> tuple[nn.Module, tuple[int, ...]]:
    """Chunks, choices, padding, reductions, powers, and pooling whose second output nothing reads."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Parts(nn.Module):
        def forward(self, x: Any) -> Any:
            a, b = x.chunk(2, 1)
            y = torch.cat([a * 2, b.clamp(-1, 1), torch.where(a > b, a, b)], 1)
            y = functional.pad(y, (1, 2, 0, 1), value=0.5)
            pooled, _ = functional.max_pool1d(y, 2, return_indices=True)
            most, _ = y.max(2)
            return torch.stack([most, y.amin(2), (pooled**3).sum(2), (y[:, :, 2:7] ** 2).mean(2)], -1).abs().sqrt()

    return Parts(), (1, 6, 7)


MODELS: dict[str, Callable[[], tuple[Any, tuple[int, ...]]]] = {
    "cnn": cnn, "perceptron": perceptron, "attention": attention, "layer": layer, "parts": parts,
}  # fmt: skip
SCRIPT = [(False, opset) for opset in range(OLDEST, 21)]  # what TorchScript's exporter knows
DYNAMO = [(True, opset) for opset in range(DYNAMO_OLDEST, NEWEST + 1)]
FEW = {(False, 9), (True, 23)}  # the others by `make test-onnx`
#: What torch itself does not export.
NOT_EXPORTED = {("layer", opset): "unflatten" for opset in range(OLDEST, 13)} | {
    ("layer", 13): "scaled_dot_product_attention"
}


def export(model: Any, example: Any, path: Path, dynamo: bool, opset: int) -> None:
    import torch

    more: dict[str, Any] = {"external_data": False, "verbose": False} if dynamo else {}
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(model, (example,), str(path), dynamo=dynamo, opset_version=opset, **more)
    finally:
        logging.disable(logging.NOTSET)


@pytest.mark.parametrize(
    ("dynamo", "opset"),
    [
        pytest.param(
            *way, id=f"{'dynamo' if way[0] else 'script'}-{way[1]}", marks=() if way in FEW else pytest.mark.onnx
        )
        for way in SCRIPT + DYNAMO
    ],
)
def test_models_of_torch(dynamo: bool, opset: int, tmp_path: Path) -> None:
    import torch

    torch.manual_seed(5)
    folders: dict[str, Path] = {}
    pairs = {}
    for name, make in MODELS.items():
        model, shape = make()
        model.eval()
        x = torch.randn(shape)
        path = tmp_path / f"{name}.onnx"
        if not dynamo and (name, opset) in NOT_EXPORTED:
            with pytest.raises(Exception, match=NOT_EXPORTED[name, opset]):
                export(model, x, path, dynamo, opset)
            continue
        export(model, x, path, dynamo, opset)
        compile_onnx(path, "native", tmp_path / name)
        folders[name] = tmp_path / name
        with torch.no_grad():
            pairs[name] = x.numpy(), model(x).numpy().ravel()
    library = Library(folders, tmp_path)
    assert not library.broken
    wrong = {name: np.abs(library.run(name, x, y.size) - y).max() for name, (x, y) in pairs.items()}
    assert {name: error for name, error in wrong.items() if not error <= TOLERANCE} == {}


def test_what_was_exported_for_training_is_refused(tmp_path: Path) -> None:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Dropout(0.5), nn.Linear(400, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        training = torch.onnx.TrainingMode.TRAINING
        path = str(tmp_path / "m.onnx")
        torch.onnx.export(model, (torch.randn(1, 2, 12, 12),), path, dynamo=False, opset_version=17, training=training)
    with pytest.raises(
        CompileError, match=r"BatchNormalization node '.+' in training mode \(instead: .*model.eval\(\)"
    ):
        compile_onnx(path, "native", tmp_path / "m")
