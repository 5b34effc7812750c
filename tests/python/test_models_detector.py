"""The detector's parts: equal to what the authors' models gave, and to their definitions."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.model.graph import gnn_arrays, pcn_arrays
from spedge.model.parts import Detector, Embedding, EventInput, Gnn, Pcn, TokenInput, Transformer
from spedge.tokens.settings import TokenizerSettings
from tests.golden_models import Case, cases
from tests.needs import needs

needs("torch")

import torch  # noqa: E402

from tests.python.test_models_graph import load, load_point_mlp  # noqa: E402


def state_of(parameters: dict[str, NDArray[np.float32]]) -> dict[str, Any]:
    """The state of a `GridDetector` from the parameters by role."""
    out: dict[str, Any] = {}
    for role, value in parameters.items():
        for theirs, own in RENAMED:
            role = role.replace(theirs, own)
        out[role] = torch.from_numpy(value)
    return out


RENAMED = [
    ("lstm.weight_input", "lstm.lstm.weight_ih"), ("lstm.weight_hidden", "lstm.lstm.weight_hh"),
    ("lstm.bias_input", "lstm.lstm.bias_ih"), ("lstm.bias_hidden", "lstm.lstm.bias_hh"),
    *[(f"bottleneck{i}.first", f"bottlenecks.{i}.0") for i in range(3)],
    *[(f"bottleneck{i}.second", f"bottlenecks.{i}.1") for i in range(3)],
    *[(f"head{i}.", f"head.levels.{i}.") for i in range(3)],
    *[(f".{name}{i}.", f".{own}.{i}.") for name, own in (("class", "classes"), ("box", "box")) for i in (0, 1)],
    (".mean", ".running_mean"), (".variance", ".running_var"),
]  # fmt: skip


def detector(case: Case) -> Any:
    from spedge.training.models.detector import GridDetector

    about = case.model
    config = Detector(
        Transformer(hidden=about["width"]), about["width"], head=about["head_width"], odd_grid=about["odd_grid"]
    )
    model = GridDetector(config, about["classes"], tuple(about["strides"])).eval()
    missing = model.load_state_dict(state_of(case.parameters), strict=False)
    assert not missing.unexpected_keys
    assert all(key.endswith("num_batches_tracked") for key in missing.missing_keys)
    return model


@pytest.mark.parametrize("name", cases(4, kind="LSTM, pyramid, neck, head"))
def test_lstm_pyramid_neck_and_head_are_the_authors(name: str) -> None:
    from spedge.training.models.detector import Steps

    case = Case(name)
    model = detector(case)
    slots = len(case["state_hidden"]) if "state_hidden" in case else 1 + max(case["batch0.slot"])
    state = model.lstm.start(int(slots), case.model["rows"], case.model["columns"])
    for batch in sorted({key.split(".")[0] for key in case.names("batch")}):
        steps = Steps(torch.from_numpy(case[f"{batch}.slot"]), torch.from_numpy(case[f"{batch}.reset"]))
        with torch.no_grad():
            grid, state = model.lstm(torch.from_numpy(case[f"{batch}.grid"]), steps, state)
            np.testing.assert_allclose(grid.numpy(), case[f"{batch}.lstm"], rtol=1e-4, atol=1e-4)
            levels = model.pyramid(grid.permute(0, 3, 1, 2))
            joined = model.neck(levels)
            for i, level in enumerate(("fine", "middle", "coarse")):
                for what, got in (("pyramid", levels), ("neck", joined)):
                    if f"{batch}.{what}_{level}" in case:
                        wanted = case[f"{batch}.{what}_{level}"]
                        np.testing.assert_allclose(got[i][0].numpy(), wanted, rtol=1e-4, atol=1e-4)
            raw = model.boxes(grid).numpy()
        wanted = case[f"{batch}.raw"]
        np.testing.assert_allclose(raw[: len(wanted)], wanted, rtol=1e-3, atol=1e-4)
    if "state_hidden" in case:
        np.testing.assert_allclose(state.hidden.numpy(), case["state_hidden"], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(state.cell.numpy(), case["state_cell"], rtol=1e-4, atol=1e-4)


def tokens_of(volumes: NDArray[Any], features: int) -> TokenInput:
    buckets, size = volumes.shape[2:4]
    return TokenInput(TokenizerSettings(patch_size=size), Embedding(buckets, features))


def cells_of(volumes: NDArray[Any]) -> Any:
    """Volumes [n, …], counts, as the cells that are not 0."""
    from spedge.training.models.inputs import Cells

    flat = volumes.reshape(len(volumes), -1)
    token, number = np.nonzero(flat)
    return Cells(
        torch.from_numpy(number.astype(np.int32)),
        torch.from_numpy(np.log1p(flat[token, number].astype(np.float32))),
        torch.from_numpy(np.searchsorted(token, np.arange(len(flat))).astype(np.int32)),
    )


def load_transformer(model: Any, parameters: dict[str, NDArray[np.float32]]) -> None:
    with torch.no_grad():
        model.encoder.cls.copy_(torch.from_numpy(parameters["cls"]))
    load(model.embedding.linear, parameters, "embedding")
    load(model.encoder.norm, parameters, "norm")
    for i, layer in enumerate(model.encoder.layers):
        of = f"layer{i}"
        packed = {
            f"{of}.qkv.{kind}": np.concatenate(
                [parameters[f"{of}.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            )
            for kind in ("weight", "bias")
        }
        load(layer.query_key_value, packed, f"{of}.qkv")
        load(layer.projection, parameters, f"{of}.attention.output")
        load(layer.attention_norm, parameters, f"{of}.norm_attention")
        load(layer.mlp_norm, parameters, f"{of}.norm_mlp")
        load(layer.mlp_in, parameters, f"{of}.mlp.first")
        load(layer.mlp_out, parameters, f"{of}.mlp.second")


@pytest.mark.parametrize("name", cases(4, kind="transformer encoder of the detector"))
def test_the_transformers_grid_is_the_authors(name: str) -> None:
    from spedge.training.models.detector import Grid, StepInputs, TokenGrid
    from spedge.training.models.inputs import TokenBatch

    case = Case(name)
    about = case.model
    lengths = torch.from_numpy(case["length"])
    present = np.arange(case["x"].shape[1]) < case["length"][:, None]
    positions = np.stack([case["x"], case["y"], case["age"] / about["time_scale"]], axis=-1)[present]
    config = Transformer(about["hidden"], about["intermediate"], about["heads"], about["layers"])
    volumes = case["volume"][present]
    model = TokenGrid(tokens_of(volumes, config.hidden), config, Grid(1, about["rows"], about["columns"])).eval()
    load_transformer(model, case.parameters)
    there = torch.nonzero(lengths).squeeze(1)
    batch = TokenBatch(cells_of(volumes), torch.from_numpy(positions), lengths[there])
    of_step = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    with torch.no_grad():
        grid = model(StepInputs(batch, torch.from_numpy(positions[:, :2]).long(), of_step, len(lengths))).numpy()
    np.testing.assert_allclose(grid, case["grid"], atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", [*cases(4, kind="GNN encoder"), *cases(4, kind="PCN encoder")])
def test_the_grids_of_gnn_and_pcn_are_the_authors(name: str) -> None:
    from spedge.training.models.detector import Grid, PointGrid, StepInputs
    from spedge.training.models.inputs import GraphBatch
    from spedge.training.represent.collate_graph import gnn_batch, pcn_batch

    case = Case(name)
    about = case.model
    starts = np.concatenate([[0], np.cumsum(case["count"])])
    there = [i for i, (a, b) in enumerate(pairwise(starts)) if b > a]
    samples = [case["position"][starts[i] : starts[i + 1]] for i in there]
    if about["kind"].startswith("GNN"):
        gnn = Gnn(about["node_radius"], about["pool_radius"], about["fps_ratio"])
        arrays = [gnn_arrays(s, gnn) for s in samples]
        config: Gnn | Pcn = gnn
        batch: Any = gnn_batch(arrays)
        places = np.concatenate([s[a.sampled] for s, a in zip(samples, arrays, strict=True)])
    else:
        config = pcn = Pcn(tuple(about["radius"]), tuple(about["fps"]))
        batch = pcn_batch([pcn_arrays(s, pcn, (0, 0)) for s in samples])
        places = batch.position.numpy()
    on_tokens = "volume" in case
    seen = tokens_of(case["volume"], 16) if on_tokens else EventInput(1)
    model = PointGrid(seen, config, Grid(about["grid"], about["rows"], about["columns"])).eval()
    load(model.embedding, case.parameters, "embedding")
    if isinstance(config, Gnn):
        for i, layer in enumerate(model.encoder.layers, 1):
            load(layer.conv, case.parameters, f"spline{i}")
            load(layer.norm, case.parameters, f"norm{i}")
    else:
        for i, stage in enumerate(model.encoder.stages, 1):
            load_point_mlp(stage.mlp, case.parameters, f"stage{i}")
        load_point_mlp(model.points, case.parameters, "points")
    features = cells_of(case["volume"]) if on_tokens else torch.from_numpy(case["polarity"].astype(np.int64))
    given = GraphBatch(features, batch, len(there))
    of_step = torch.tensor(there)[batch.sample]
    with torch.no_grad():
        grid = model(StepInputs(given, torch.from_numpy(places[:, :2]).long(), of_step, len(case["count"]))).numpy()
    np.testing.assert_allclose(grid, case["grid"], atol=5e-4, rtol=0)


@pytest.mark.parametrize("name", cases(4, array="^assigned$"))
def test_assignment_losses_and_gradient_are_the_authors(name: str) -> None:
    from spedge.training.models.yolox import centres
    from spedge.training.tasks.detection import Cells, assign, losses

    case = Case(name)
    said = case.about["arrays"]["raw"][2]  # "… levels 28x36, 14x18, 7x9, strides 8, 16, 32"
    (_, middle, _), strides = re.findall(r"(\d+)x(\d+)", said), re.findall(r"\d+", said.rpartition("strides")[2])
    rows, columns = map(int, middle)
    cells = Cells(*centres(rows, columns, tuple(map(int, strides))))
    raw = torch.from_numpy(case["raw"]).requires_grad_()
    assert len(cells.centre) == raw.shape[1]
    labels = [torch.from_numpy(rows[(rows != 0).any(axis=1)]) for rows in case["labels"]]
    given = torch.from_numpy(case["labels"])
    found = assign(raw.detach(), given, (given != 0).any(dim=2), cells)
    np.testing.assert_array_equal(found.label.numpy(), case["assigned"])
    np.testing.assert_allclose(found.iou.numpy(), case["matched_iou"], rtol=1e-4, atol=1e-6)
    got = losses(raw, labels, cells)
    terms = [float(term) for term in (x.detach() for x in got[:4])] + [got.positives]
    np.testing.assert_allclose(terms, case["terms"], rtol=1e-4)
    got.total.backward()  # type: ignore[no-untyped-call]
    assert raw.grad is not None
    scale = float(np.abs(case["gradient"]).max())
    np.testing.assert_allclose(raw.grad.numpy(), case["gradient"], rtol=1e-4, atol=1e-5 * scale)


def test_what_a_step_is_assigned_depends_on_nothing_else() -> None:
    """Neither on the steps beside it, one of them without labels, nor on what far cells give, as boxes without end."""
    from spedge.training.models.yolox import centres
    from spedge.training.tasks.detection import Cells, losses

    torch.manual_seed(3)
    cells = Cells(*centres(4, 6, (8, 16, 32)))
    raw = torch.randn(3, len(cells.centre), 5 + 4)
    raw[..., :2] = cells.centre + 4 * raw[..., :2]
    raw[..., 2:4] = 20 * raw[..., 2:4].exp()
    labels = [
        torch.tensor([[1, 20.0, 20, 18, 22], [3, 30, 24, 20, 20]]),
        torch.zeros(0, 5),
        torch.tensor([[0, 60.0, 40, 9, 9]]),
    ]
    together = losses(raw, labels, cells)
    alone = [losses(raw[i : i + 1], [labels[i]], cells) for i in (0, 2)]
    counts = [one.positives * len(own) for one, own in zip(alone, (labels[0], labels[2]), strict=True)]
    box = sum(float(one.box) * count for one, count in zip(alone, counts, strict=True)) / sum(counts)
    assert float(together.box) == pytest.approx(box, rel=1e-5)
    assert together.positives == pytest.approx(sum(counts) / 3)
    far = (cells.centre - torch.tensor([60.0, 40.0])).abs().amax(dim=1) > 1.5 * 32
    raw[2, far, 2:4] = torch.inf
    assert bool(far.any())
    assert float(losses(raw, labels, cells).box) == pytest.approx(box, rel=1e-5)


PARAMETERS = [  # experiments.md D: encoder, and what comes after it
    ("G1-T-SP", 88_989_696, 51_371_541), ("G1-GNN-SP", 2_610_192, 8_408_981), ("G1-GNN-E", 2_589_728, 8_408_981),
    ("G1-PCN-SP", 78_688, 8_408_981), ("G1-PCN-E", 58_224, 8_408_981),
]  # fmt: skip


@pytest.mark.parametrize(("name", "encoder", "rest"), PARAMETERS)
def test_there_are_as_many_parameters_as_published(name: str, encoder: int, rest: int) -> None:
    from spedge.training.models.detector import DetectorModel
    from spedge.training.presets import preset

    spec = preset(name).spec()
    assert isinstance(spec.model, Detector)
    with torch.device("meta"):
        model = DetectorModel(spec.sensor, len(spec.labels), spec.representation, spec.model)
    assert sum(p.numel() for p in model.encoder.parameters()) == encoder
    assert sum(p.numel() for p in model.detector.parameters()) == rest


@pytest.mark.parametrize(("odd_grid", "cells"), [("pad", 4 * 16 * 20 + 16 * 20 + 8 * 10), ("crop", 1323)])
def test_an_odd_grid_is_filled_up_or_cropped(odd_grid: str, cells: int) -> None:
    """As many boxes as the description says; where they are does not depend on it."""
    from spedge.training.models.detector import GridDetector
    from spedge.training.presets import preset

    spec = preset("G1-T-SP").spec()
    assert isinstance(spec.model, Detector)
    config = Detector(Transformer(hidden=8, heads=2), 8, head=8, odd_grid=odd_grid)
    assert config.boxes(spec.sensor, spec.representation) == cells
    model = GridDetector(config, 2, (8, 16, 32)).eval()
    with torch.no_grad():
        raw = model.boxes(torch.zeros(1, 15, 19, 8))
    assert raw.shape == (1, cells, 7)
    size = torch.exp(model.head.levels[0].box_output.bias[2:4].detach()) * 8
    assert float(size.min()) > 0
    assert (raw[0, :, 4] < -3).all()  # the objectness begins at one in a hundred


def test_what_a_slot_carries_does_not_depend_on_the_others() -> None:
    """Two slots' steps in one batch give what each gives alone; a reset begins anew."""
    from spedge.training.models.detector import GridLstm, Steps

    torch.manual_seed(0)
    lstm = GridLstm(6, 5)
    grid = torch.randn(7, 2, 3, 6)
    slot, reset = torch.tensor([1, 1, 1, 0, 0, 2, 2]), torch.tensor([False, False, True, True, False, False, False])
    with torch.no_grad():
        together, state = lstm(grid, Steps(slot, reset), lstm.start(4, 2, 3))
        for number in range(3):
            own = slot == number
            alone, kept = lstm(grid[own], Steps(slot[own], reset[own]), lstm.start(4, 2, 3))
            torch.testing.assert_close(together[own], alone)
            torch.testing.assert_close(state.hidden[number], kept.hidden[number])
        first, _ = lstm(grid[2:3], Steps(slot[2:3], reset[2:3]), lstm.start(4, 2, 3))
    torch.testing.assert_close(together[2], first[0])
    assert not (state.hidden[3] != 0).any()
