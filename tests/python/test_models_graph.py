"""Graphs, their layers, GNN and PCN: equal to what the authors' models gave, and to their definitions."""

from __future__ import annotations

import math
import re
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.errors import UsageError
from spedge.model.graph import EdgeArrays, GnnArrays, edge_arrays, gnn_arrays, pcn_arrays
from spedge.model.parts import Gnn, Pcn
from spedge.tokens.graph import farthest_points, neighbours
from tests.golden_models import Case, arrays, cases
from tests.needs import needs

needs("torch")

import torch  # noqa: E402


def sorted_edges(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    return edges[:, np.lexsort((edges[0], edges[1]))]


def apart(case: Case, group: str) -> list[NDArray[np.int64]]:
    """Numbers of each sample's nodes."""
    sample = case[f"{group}.sample"] if f"{group}.sample" in case else np.zeros(len(case[f"{group}.position"]))
    return [np.flatnonzero(sample == s) for s in np.unique(sample)]


# ---------------------------------------------------------------- edges and samples


def edges_of_a_sample(points: NDArray[Any], radius: float, meaning: str, centres: Any = None) -> NDArray[np.int64]:
    return neighbours(points, radius, len(points), centres=centres, loops="no self loops" not in meaning).edges()


@pytest.mark.parametrize(("name", "array"), arrays(2, array=r"\.edges_r"))
def test_edges_are_the_authors(name: str, array: str) -> None:
    """Among all points, among every n-th, or from all to centres among them, as the index says of the array."""
    case = Case(name)
    group, radius = array.split(".edges_r")
    meaning = case.about["arrays"][array][2]
    points, every = case[f"{group}.position"], re.search(r"every (\d+)\w\w node", meaning)
    to = re.search(r"(?:first (\d+) of )?(fps_[\d.]+\d)", meaning)
    found = []
    if to:
        centres = case[f"{group}.{to[2]}"][: int(to[1]) if to[1] else None]
        for nodes in apart(case, group):
            own = np.flatnonzero(np.isin(centres, nodes))
            local = np.searchsorted(nodes, centres[own]).tolist()
            if local:
                source, target = edges_of_a_sample(points[nodes], float(radius), meaning, local)
                found.append(np.stack([nodes[source], own[target]]))
    else:
        step = int(every[1]) if every else 1
        for nodes in apart(case, group):
            kept = nodes[nodes % step == 0]
            found.append(kept[edges_of_a_sample(points[kept], float(radius), meaning)] // step)
    np.testing.assert_array_equal(sorted_edges(np.concatenate(found, axis=1)), case[array])


@pytest.mark.parametrize(("name", "array"), arrays(2, array=r"\.fps_"))
def test_samples_are_the_authors(name: str, array: str) -> None:
    """Where points are equally far, the first one is taken."""
    case = Case(name)
    group, ratio = array.split(".fps_")
    points = case[f"{group}.position"]
    chosen = [nodes[farthest_points(points[nodes], float(ratio))] for nodes in apart(case, group)]
    np.testing.assert_array_equal(np.concatenate(chosen), case[array])


@pytest.mark.parametrize(("name", "array"), arrays(2, array=r"\.degree(_no_loop)?$"))
def test_a_cap_leaves_as_many_as_the_authors_has(name: str, array: str) -> None:
    """Theirs may leave one more where there are no loops."""
    case = Case(name)
    points, loops = case[array.split(".")[0] + ".position"], not array.endswith("no_loop")
    found = neighbours(points, 3.0, 32, loops=loops).counts
    np.testing.assert_array_equal(found, np.minimum(case[array], 32))
    uncapped = neighbours(points, 3.0, len(points)).counts
    np.testing.assert_array_equal(uncapped, case[array.split(".")[0] + ".in_radius"])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("shuffled", [False, True])
def test_neighbours_equal_the_definition(kind: type, shuffled: bool) -> None:
    random = np.random.default_rng(1)
    points = random.integers(0, 12, (300, 3)).astype(kind) / kind(4)  # many equal distances
    points = points if shuffled else points[np.argsort(points[:, 2], kind="stable")]
    distance = ((points[:, None] - points[None]) ** 2).sum(axis=2)
    for loops in (True, False):
        for cap in (1, 7, 300):
            found = neighbours(points, 1.25, cap, loops=loops)
            lowest = neighbours(points, 1.25, cap, loops=loops, rule="lowest")
            for centre in range(len(points)):
                near = [p for p in np.flatnonzero(distance[centre] < 1.25**2).tolist() if loops or p != centre]
                nearest = sorted(near, key=lambda p, c=centre: (distance[c, p], p))[:cap]  # type: ignore[misc]
                assert found.sources[centre, : found.counts[centre]].tolist() == nearest
                assert lowest.sources[centre, : lowest.counts[centre]].tolist() == near[:cap]


def test_neighbours_of_some_centres_are_those_of_all() -> None:
    points = np.random.default_rng(2).random((200, 3)) * 4
    every = neighbours(points, 1.0, 5)
    centres = [17, 3, 150, 3]
    some = neighbours(points, 1.0, 5, centres=centres)
    np.testing.assert_array_equal(some.sources, every.sources[centres])
    np.testing.assert_array_equal(some.counts, every.counts[centres])


def test_farthest_points_equal_the_definition() -> None:
    points = np.random.default_rng(3).integers(0, 9, (150, 3)).astype(np.float32)
    chosen = [40]
    nearest = np.full(150, np.inf)
    while len(chosen) < math.ceil(0.3 * 150):
        nearest = np.minimum(nearest, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
        chosen.append(int(nearest.argmax()))
    assert farthest_points(points, 0.3, 40).tolist() == chosen


def test_no_points_have_no_graph() -> None:
    none = np.empty((0, 3))
    assert neighbours(none, 1.0, 4).edges().shape == (2, 0)
    assert farthest_points(none, 0.5).shape == (0,)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda p: neighbours(p, 0.0, 4), "radius"),
        (lambda p: neighbours(p, math.nan, 4), "radius"),
        (lambda p: neighbours(p, 1.0, 0), "cap"),
        (lambda p: neighbours(p, 1.0, 4, rule="oldest"), "nearest, lowest"),
        (lambda p: neighbours(p, 1.0, 4, centres=[5]), "numbers of the 5 points"),
        (lambda p: neighbours(p[:, :2], 1.0, 4), r"\[n, 3\]"),
        (lambda p: neighbours(p.astype(int), 1.0, 4), "float32 or float64"),
        (lambda p: farthest_points(p, 1.5), "ratio"),
        (lambda p: farthest_points(p, 0.5, 5), "start"),
    ],
)
def test_what_cannot_be_is_named(call: Any, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        call(np.random.default_rng(0).random((5, 3)))


# ---------------------------------------------------------------- layers


def edges_of(arrays: EdgeArrays) -> Any:
    from spedge.training.models.graph import Edges

    return Edges(*(torch.from_numpy(a) for a in arrays[:3]), arrays.nodes)


@pytest.mark.parametrize(("name", "array"), arrays(2, array="^output_"))
@pytest.mark.parametrize("chunk", [None, 5000])
def test_spline_convolution_is_the_authors(
    name: str, array: str, chunk: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    from spedge.training.models import graph

    if chunk:  # a few nodes at a time
        monkeypatch.setattr(graph, "CHUNK_FLOATS", chunk)
    case, size = Case(name), array.removeprefix("output_")
    inputs, outputs = map(int, size.split("to"))
    conv = graph.SplineConv(inputs, outputs)
    conv.load_state_dict({"weight": torch.from_numpy(case.parameters[f"spline.{size}.weight"])})
    source, target = case["edges"].astype(np.int64)
    order = np.argsort(target, kind="stable")
    relative = (case["pseudo"] - np.float32(0.5)) * 2
    edges = edges_of(
        EdgeArrays(source[order], target[order], relative[order], len(case["position"]), len(case["position"]))
    )
    x = torch.from_numpy(case[f"input_{size}"]).requires_grad_()
    y = conv(x, edges, graph.spline_basis(edges))
    np.testing.assert_allclose(y.detach().numpy(), case[f"output_{size}"], rtol=1e-4, atol=1e-4)
    (y * torch.cos(torch.arange(y.numel()).view(y.shape))).sum().backward()
    assert x.grad is not None
    np.testing.assert_allclose(x.grad.numpy(), case[f"gradient_{size}"], rtol=1e-4, atol=1e-4)
    alone = np.setdiff1d(np.arange(len(y)), target)
    assert len(alone)
    assert (y[alone] == 0).all()


def test_the_borders_of_a_spline_are_its_outer_matrices() -> None:
    from spedge.training.models.graph import Edges, spline_basis

    edge = torch.zeros(2, dtype=torch.int64)
    basis = spline_basis(Edges(edge, edge, torch.tensor([[-1.0, -1, -1], [1, 1, 1]]), 1))
    assert [int(cells[weights.argmax()]) for cells, weights in zip(basis.cell, basis.weight, strict=True)] == [0, 63]
    assert torch.allclose(basis.weight.sum(dim=1), torch.ones(2))


def load_point_mlp(mlp: Any, parameters: dict[str, NDArray[np.float32]], role: str) -> None:
    for place, name in ((0, "linear0"), (1, "norm0"), (3, "linear1"), (4, "norm1"), (6, "linear2")):
        load(mlp[place], parameters, f"{role}.{name}")


def load(module: Any, parameters: dict[str, NDArray[np.float32]], role: str) -> None:
    names = {"weight": "weight", "bias": "bias", "running_mean": "mean", "running_var": "variance"}
    state = {own: parameters[f"{role}.{theirs}"] for own, theirs in names.items() if f"{role}.{theirs}" in parameters}
    if "num_batches_tracked" in module.state_dict():
        state["num_batches_tracked"] = np.array(0)
    module.load_state_dict(
        {own: torch.from_numpy(value.reshape(module.state_dict()[own].shape)) for own, value in state.items()}
    )


@pytest.mark.parametrize("name", cases(2, array=r"^pointnet\.output$"))
def test_set_abstraction_is_the_authors(name: str) -> None:
    from spedge.training.models.graph import SetAbstraction

    case = Case(name)
    stage = SetAbstraction(case["pointnet.input"].shape[1], case["pointnet.output"].shape[1]).eval()
    load_point_mlp(stage.mlp, case.parameters, "pointnet")
    points = case["pointnet.position"]
    edges = edge_arrays(points, points[case["pointnet.centres"]], case["pointnet.edges"].astype(np.int64), 1.0)
    with torch.no_grad():
        got = stage(torch.from_numpy(case["pointnet.input"]), edges_of(edges), 1.0).numpy()
    np.testing.assert_allclose(got, case["pointnet.output"], rtol=1e-4, atol=1e-4)


# ---------------------------------------------------------------- models


def features(case: Case) -> Any:
    from spedge.training.models.inputs import CellLinear
    from spedge.training.models.on_graphs import EventFeatures

    if "polarity" in case:
        embedding: Any = EventFeatures(16)
        load(embedding, case.parameters, "embedding")
        return embedding(torch.from_numpy(case["polarity"].astype(np.int64)))
    volumes = torch.from_numpy(case["volume"].astype(np.float32))
    embedding = CellLinear(volumes[0].numel(), 16)
    load(embedding, case.parameters, "embedding")
    return embedding(volumes)


def rule_of(case: Case) -> str:
    return str(case.about.get("rule", "nearest"))


@pytest.mark.parametrize("name", cases(3, kind="GNN classifier"))
def test_the_gnn_is_the_authors(name: str) -> None:
    from spedge.training.models.gnn import GnnClassifier
    from spedge.training.represent.collate_graph import gnn_batch

    case = Case(name)
    about = case.model
    config = Gnn(about["node_radius"], about["pool_radius"], about["fps_ratio"], rule=rule_of(case))
    model = GnnClassifier(config, about["classes"]).eval()
    for i, layer in enumerate(model.encoder.layers, 1):
        load(layer.conv, case.parameters, f"spline{i}")
        load(layer.norm, case.parameters, f"norm{i}")
    load(model.head, case.parameters, "classifier")
    starts = np.concatenate([[0], np.cumsum(case["count"])])
    samples = [case["position"][a:b] for a, b in pairwise(starts)]
    arrays = [gnn_arrays(positions, config, near_rule=config.rule) for positions in samples]
    if "edges1" in case:
        arrays = [with_given_edges(case, arrays[0], config)]
    batch = gnn_batch(arrays)
    np.testing.assert_array_equal(batch.sampled.numpy(), case["sampled"])
    if "edge_count" in case:
        assert [len(batch.near.source), len(batch.far.source)] == case["edge_count"].tolist()
    seen: dict[int, Any] = {}
    for i in (0, 4, 6):
        model.encoder.layers[i].register_forward_hook(lambda _, __, output, i=i: seen.update({i: output}))
    with torch.no_grad():
        logits = model(features(case), batch, len(samples)).numpy()
    for i, key in ((0, "block1"), (4, "block5"), (6, "block7")):
        np.testing.assert_allclose(seen[i][: len(case[key])].numpy(), case[key], rtol=1e-4, atol=5e-4)
    np.testing.assert_allclose(logits, case["logits"], rtol=1e-4, atol=5e-4)


def with_given_edges(case: Case, own: GnnArrays, config: Gnn) -> GnnArrays:
    points = case["position"]
    kept = points[own.sampled]
    near, far = (
        edges[:, np.argsort(edges[1], kind="stable")].astype(np.int64) for edges in (case["edges1"], case["edges2"])
    )
    return GnnArrays(
        edge_arrays(points, points, near, config.node_radius),
        own.sampled,
        edge_arrays(kept, kept, far, config.pool_radius),
        kept,
    )


@pytest.mark.parametrize("name", cases(3, kind="PCN classifier"))
def test_the_pcn_is_the_authors(name: str) -> None:
    from spedge.training.models.pcn import PcnClassifier
    from spedge.training.represent.collate_graph import pcn_batch

    case = Case(name)
    about = case.model
    config = Pcn(tuple(about["radius"]), tuple(about["fps"]), rule=rule_of(case))
    model = PcnClassifier(config, about["classes"]).eval()
    for i, stage in enumerate(model.encoder.stages, 1):
        load_point_mlp(stage.mlp, case.parameters, f"stage{i}")
    load_point_mlp(model.points, case.parameters, "points")
    for place, number in ((0, 0), (3, 1), (6, 2)):
        load(model.head[place], case.parameters, f"head.linear{number}")
    starts = np.concatenate([[0], np.cumsum(case["count"])])
    samples = [case["position"][a:b] for a, b in pairwise(starts)]
    batch = pcn_batch([pcn_arrays(positions, config, (0, 0)) for positions in samples])
    assert [len(stage.source) for stage in batch.stages] == case["edge_count"].tolist()
    seen: dict[int, Any] = {}
    for i in (0, 1):
        model.encoder.stages[i].register_forward_hook(lambda _, __, output, i=i: seen.update({i: output}))
    with torch.no_grad():
        x = features(case)
        together = model.features(x, batch, len(samples)).numpy()
        logits = model(x, batch, len(samples)).numpy()
    for i, key in ((0, "stage1"), (1, "stage2")):
        np.testing.assert_allclose(seen[i][: len(case[key])].numpy(), case[key], rtol=1e-4, atol=5e-4)
    np.testing.assert_allclose(together, case["global"], rtol=1e-4, atol=5e-4)
    np.testing.assert_allclose(logits, case["logits"], rtol=1e-4, atol=5e-4)


PARAMETERS = [  # experiments.md D
    ("gnn", 2 * 10 * 64, 11, 2_611_600), ("gnn", 2 * 10 * 64, 19, 2_612_624), ("gnn", None, 11, 2_591_136),
    ("gnn", None, 19, 2_592_160), ("pcn", 2 * 10 * 16, 11, 97_771), ("pcn", 2 * 10 * 16, 19, 98_803),
    ("pcn", None, 11, 92_667), ("pcn", None, 19, 93_699),
]  # fmt: skip


@pytest.mark.parametrize(("family", "cells", "classes", "count"), PARAMETERS)
def test_there_are_as_many_parameters_as_published(family: str, cells: int | None, classes: int, count: int) -> None:
    from spedge.training.models.gnn import GnnClassifier
    from spedge.training.models.inputs import CellLinear
    from spedge.training.models.on_graphs import EventFeatures
    from spedge.training.models.pcn import PcnClassifier

    embedding = EventFeatures(16) if cells is None else CellLinear(cells, 16)
    model = (
        GnnClassifier(Gnn(3.0, 9.0, 0.1), classes)
        if family == "gnn"
        else PcnClassifier(Pcn((1.0, 6.0), (0.5, 0.75)), classes)
    )
    assert sum(p.numel() for m in (embedding, model) for p in m.parameters()) == count
