"""The transformer: shapes, padding, how it starts, what its embedding computes. Also how models on graphs start."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spedge.model.window import Windower
from spedge.training.presets import PRESETS
from tests.events import strokes
from tests.needs import needs

needs("torch")

import torch  # noqa: E402

from spedge.training.models.registry import make_model  # noqa: E402
from spedge.training.models.transformer import position_frequencies  # noqa: E402

SPEC = PRESETS["nmnist-pico"].spec("test")


def model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    made = make_model(SPEC).eval()
    with torch.no_grad():
        for parameter in made.parameters():  # away from the initial symmetry
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return made


def random_input(length: int, capacity: int = 128) -> tuple[Any, Any, Any]:
    volumes = torch.poisson(torch.full((1, capacity, 2, 6, 4, 4), 0.2))
    positions = torch.rand(1, capacity, 3, dtype=torch.float64) * 20
    return volumes, positions, torch.tensor([length], dtype=torch.int32)


def test_shapes_and_size() -> None:
    volumes, positions, _ = random_input(10)
    logits = model()(volumes.expand(3, -1, -1, -1, -1, -1), positions.expand(3, -1, -1), torch.tensor([0, 7, 128]))
    assert logits.shape == (3, 10)
    assert torch.isfinite(logits).all()
    assert sum(p.numel() for p in make_model(SPEC).encoder.parameters()) < 70_000


@pytest.mark.parametrize("length", [0, 1, 40, 127])
def test_padding_changes_nothing(length: int) -> None:
    made = model()
    volumes, positions, count = random_input(length)
    with torch.no_grad():
        expected = made(volumes[:, :length], positions[:, :length], count)
        volumes[:, length:] = 1000 * torch.rand_like(volumes[:, length:])
        positions[:, length:] = 1e4 * torch.rand_like(positions[:, length:])
        padded = made(volumes, positions, count)
        assert torch.allclose(padded, expected, atol=1e-5)
        if length:
            volumes[:, length - 1] += 1
            assert not torch.allclose(made(volumes, positions, count), padded, atol=1e-5)


def uniform(weight: Any, bound: float) -> None:
    assert weight.abs().max().item() == pytest.approx(bound, rel=1e-2)
    assert weight.abs().max().item() <= bound * (1 + 1e-6)
    assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=2e-2)


def test_starts_as_the_paper_says() -> None:
    """Normal of 0.02, each of them and CLS; uniform for the packed queries, keys and values (Xavier: bound
    sqrt(6 / (in + out))) and the token embedding (Kaiming, a = sqrt(5): 1 / sqrt(in)); norms 1 and 0."""
    torch.manual_seed(0)
    weights = dict(make_model(PRESETS["DG-T-SP"].spec("test")).named_parameters())
    for layer in range(12):
        uniform(weights.pop(f"encoder.layers.{layer}.query_key_value.weight"), (6 / (4 * 768)) ** 0.5)
    uniform(weights.pop("embedding.linear.weight"), 5120**-0.5)
    uniform(weights.pop("embedding.linear.bias"), 5120**-0.5)
    normal = {n: p for n, p in weights.items() if p.dim() > 1}
    assert len(normal) == 12 * 3 + 2
    for name, weight in normal.items():
        assert weight.std().item() == pytest.approx(0.02, rel=0.05 if weight.numel() < 10_000 else 0.01), name
        assert weight.abs().max().item() > 2.5 * 0.02, name  # a uniform one of this spread ends at 1.73
    zero = [p for n, p in weights.items() if n.endswith("bias")]
    assert len(zero) == 12 * 6 + 2
    assert all(p.abs().max().item() == 0 for p in zero)
    one = [p for n, p in weights.items() if "norm" in n and n.endswith("weight")]
    assert len(one) == 12 * 2 + 1
    assert all((p == 1).all() for p in one)
    assert len(normal) + len(zero) + len(one) == len(weights)


@pytest.mark.parametrize("name", ["DG-GNN-SP", "SL-GNN-E", "DG-PCN-V", "SL-PCN-E"])
def test_models_on_graphs_start_as_the_paper_says(name: str) -> None:
    """Splines uniform in 1 / sqrt(64 in), linear maps and biases in 1 / sqrt(in), a polarity's vector normal of 1."""
    torch.manual_seed(0)
    model = make_model(PRESETS[name].spec())
    weights = dict(model.named_parameters())
    norms = [n for n, module in model.named_modules() if isinstance(module, torch.nn.BatchNorm1d)]
    for norm in norms:
        assert (weights.pop(f"{norm}.weight") == 1).all() and (weights.pop(f"{norm}.bias") == 0).all()
    if name.endswith("E"):
        vectors = weights.pop("embedding.weight")
        assert vectors.shape == (2, 16) and vectors.std().item() == pytest.approx(1, rel=0.4)
    inputs = {n: p.shape[-1] if p.dim() == 2 else 64 * p.shape[1] for n, p in weights.items() if p.dim() > 1}
    for tensor, weight in weights.items():
        bound = inputs[tensor.replace("bias", "weight")] ** -0.5
        assert 0.7 * bound < weight.abs().max().item() <= bound, tensor
        if weight.numel() > 2000:
            uniform(weight, bound)


@pytest.mark.parametrize("span", [300_000, 10**9, 10**12])
def test_the_position_embedding_is_the_librarys(span: int) -> None:
    from spedge.tokens.embedding import position_embedding

    random = np.random.default_rng(0)
    x, y, t = random.integers(0, 9, 50), random.integers(0, 9, 50), random.integers(0, span, 50)
    positions = np.stack([x, y, t / 10_000.0], 1)
    ours = model().embedding.position(torch.from_numpy(positions[None]))[0].numpy()
    library = position_embedding(x, y, t, 64, 10_000.0)
    assert np.abs(ours - library).max() < 2e-6
    assert position_frequencies(21)[:3].tolist() == pytest.approx([1.0, 1.0, 10_000 ** (2 / 21)])


def test_embedding_a_window_is_what_the_library_embeds() -> None:
    from spedge.tokens.embedding import encoder_input

    made = model()
    windower = Windower(SPEC)
    tokens = windower.tokenize(strokes(3, 0))
    window = windower.window(tokens)
    with torch.no_grad():
        ours = made.embedding(torch.from_numpy(window.volumes[None]), torch.from_numpy(window.positions[None]))[0]
    linear = made.embedding.linear
    library = encoder_input(
        tokens.last(128), linear.weight.detach().numpy(), linear.bias.detach().numpy(), 4, 6, 10_000.0
    )
    assert len(library) > 20
    assert np.abs(ours.numpy() - library).max() < 1e-4


def test_the_window_is_the_last_tokens_from_its_first_on() -> None:
    windower = Windower(SPEC.with_window(10))
    tokens = windower.tokenize(strokes(3, 0))
    window = windower.window(tokens)
    assert window.volumes.shape == (10, 2, 6, 4, 4)
    assert window.positions[0, 2] == 0
    assert window.positions[-1, 2] == pytest.approx((int(tokens.t[-1]) - int(tokens.t[-10])) / 10_000)
    assert (window.volumes.sum(axis=(1, 2, 3, 4)) == 48).all()
    assert windower.window(windower.tokenize(strokes(3, 0)[:0])).volumes.shape == (0, 2, 6, 4, 4)
