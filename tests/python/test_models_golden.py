"""Classifiers of all families equal what the authors' own gave: from the clips' events, by the way samples take in
training, to logits. The cases, their settings and sizes are those of the folder's index."""

from __future__ import annotations

import importlib
import re
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.model.parts import EventInput, Gnn, Pcn
from spedge.model.window import Windower
from spedge.tokens.embedding import log_time_volume, position_embedding
from spedge.tokens.tokenizer import Tokens
from spedge.training.presets import PRESETS
from tests.golden_models import Case, arrays, cases, clip, state
from tests.needs import needs

needs("torch")

import torch  # noqa: E402

from spedge.training.models.registry import make_model  # noqa: E402
from spedge.training.represent.collate import Item, collate  # noqa: E402
from spedge.training.represent.samples import Represent  # noqa: E402

FIRST_SECOND_US = 1_000_000
TRANSFORMER, GNN, PCN = "transformer classifier", "GNN classifier", "PCN classifier"


def made(case: Case) -> Any:
    """The case's model with its weights, ready to evaluate. Every parameter is given, and there is no other."""
    model = make_model(case.spec())
    model.load_state_dict({name: torch.from_numpy(value) for name, value in state(case).items()}, strict=True)
    return model.eval()


def batch_of(case: Case) -> Any:
    """What training feeds its model with, of the case's clips."""
    spec = case.spec()
    represent = Represent(spec)
    label = np.zeros(len(spec.labels), np.float32)
    if case.model["kind"] == TRANSFORMER:
        clips = zip(map(clip, case["clip"]), case["time_until"], strict=True)
        samples = [represent(events[events["t"] < until]) for events, until in clips]
    else:
        of = represent.of_tokens if case.model["nodes"] == "tokens" else represent
        samples = [of(nodes) for nodes in nodes_of(case)]
    return collate([Item(arrays, label, i) for i, arrays in enumerate(samples)]).inputs


def tolerance(case: Case) -> dict[str, Any]:
    """As the index says it: "2e-4 absolute, fp32"."""
    found = re.match(r"([\d.e-]+) absolute", case.about["tolerance"])
    assert found, case.about["tolerance"]
    return {"rtol": 0, "atol": float(found[1])}


# ---------------------------------------------------------------- transformers


@pytest.mark.parametrize("name", cases(1, kind=TRANSFORMER))
def test_tokens_and_volumes_of_a_clip_are_the_authors(name: str) -> None:
    case = Case(name)
    spec = case.spec()
    for i, (number, until) in enumerate(zip(case["clip"], case["time_until"], strict=True)):
        events = clip(number)
        tokens = Windower(spec).tokenize(events[events["t"] < until])
        n = int(case["length"][i])
        assert len(tokens) == n
        for column in ("x", "y", "t"):
            np.testing.assert_array_equal(getattr(tokens, column), case[column][i, :n])
            assert not case[column][i, n:].any()
        seen = spec.token_input
        volumes = log_time_volume(tokens, seen.tokenizer.patch_size, seen.embedding.buckets)
        np.testing.assert_array_equal(volumes, case["volume"][i, :n])


@pytest.mark.parametrize("name", cases(1, kind=TRANSFORMER))
def test_a_transformer_is_the_authors(name: str) -> None:
    """From events to logits as in training; the shorter sample is padded, and its padding is never looked at."""
    case = Case(name)
    model, batch = made(case), batch_of(case)
    layers: list[Any] = []
    for layer in model.encoder.layers:
        layer.register_forward_hook(lambda _, __, output: layers.append(output[:, 0]))
    with torch.no_grad():
        logits = model.of_batch(batch).numpy()
        embedded = model.embedding.of_cells(batch.cells, batch.positions).numpy()
    np.testing.assert_allclose(embedded[: len(case["embedded"])], case["embedded"], **tolerance(case))
    np.testing.assert_allclose(torch.stack(layers, 1), case["cls_after_layer"], **tolerance(case))
    np.testing.assert_allclose(logits, case["logits"], **tolerance(case))
    if len(set(case["length"].tolist())) > 1:  # these two can be told apart
        assert np.abs(logits - case["logits_off_by_one_mask"]).max() > 10 * tolerance(case)["atol"]


@pytest.mark.parametrize("name", cases(1, kind=TRANSFORMER))
def test_a_transformer_on_padded_volumes_is_the_authors(name: str) -> None:
    """The way of a bundle's model.onnx. What is in the padding does not matter."""
    case = Case(name)
    about, model = case.model, made(case)
    positions = np.stack([case["x"], case["y"], case["t"] / about["time_scale"]], axis=2)
    volumes, length = torch.from_numpy(case["volume"].astype(np.float32)), torch.from_numpy(case["length"])
    with torch.no_grad():
        for noise in (0.0, 7.0):
            padding = torch.arange(volumes.shape[1]) >= length[:, None]
            volumes[padding] += noise
            logits = model(volumes, torch.from_numpy(positions), length).numpy()
            np.testing.assert_allclose(logits, case["logits"], **tolerance(case))


@pytest.mark.parametrize("name", cases(1, kind=TRANSFORMER))
def test_position_embeddings_are_the_authors(name: str) -> None:
    case = Case(name)
    about, n = case.model, len(case["position_embedding"])
    x, y, t = (case[column][0, :n] for column in ("x", "y", "t"))
    ours = position_embedding(x, y, t, about["hidden"], about["time_scale"])
    np.testing.assert_allclose(ours, case["position_embedding"], **tolerance(case))
    positions = torch.from_numpy(np.stack([x, y, t / about["time_scale"]], axis=1))
    np.testing.assert_allclose(
        made(case).embedding.position(positions).numpy(), case["position_embedding"], **tolerance(case)
    )


# ---------------------------------------------------------------- GNN and PCN


def chosen(tokens: Tokens, numbers: NDArray[Any]) -> Tokens:
    """Some tokens of all."""
    events = [tokens.events_of(number) for number in numbers.tolist()]
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in events])])
    return Tokens(tokens.x[numbers], tokens.y[numbers], tokens.t[numbers], offsets, np.concatenate(events))


def nodes_of(case: Case) -> list[Any]:
    """Tokens or events of each sample that the case takes of its clip."""
    spec, bounds = case.spec(), np.concatenate([[0], np.cumsum(case["count"])])
    found: list[Any] = []
    for number, first, last in zip(case["clip"], bounds[:-1], bounds[1:], strict=True):
        events, numbers = clip(number), case["node"][first:last]
        if isinstance(spec.representation, EventInput):
            found.append(events[numbers])
        else:
            found.append(chosen(Windower(spec).tokenize(events[events["t"] < FIRST_SECOND_US]), numbers))
    return found


ON_GRAPHS = [name for kind in (GNN, PCN) for name in cases(3, kind=kind)]


@pytest.mark.parametrize("name", ON_GRAPHS)
def test_settings_are_the_presets(name: str) -> None:
    case = Case(name)
    about, model, seen = case.model, case.spec().model, case.spec().representation
    assert about["classes"] == len(case.spec().labels)
    if isinstance(model, Gnn):
        settings = (about["node_radius"], about["pool_radius"], about["fps_ratio"])
        assert (model.node_radius, model.pool_radius, model.fps_ratio) == settings
    else:
        assert isinstance(model, Pcn)
        assert (list(model.radii), list(model.fps_ratios)) == (about["radius"], about["fps"])
    if isinstance(seen, EventInput):
        assert (about["nodes"], about["time_scale"]) == ("events", seen.time_scale_us)
    else:
        assert (about["patch_size"], about["time_scale"]) == (seen.tokenizer.patch_size, seen.embedding.time_scale_us)


@pytest.mark.parametrize("name", ON_GRAPHS)
def test_nodes_of_a_clip_are_the_authors(name: str) -> None:
    case = Case(name)
    nodes, scale, patch = nodes_of(case), case.model["time_scale"], case.model["patch_size"]
    columns = [events_of(own) for own in nodes]
    positions = np.concatenate([np.column_stack([x, y, t / np.float64(scale)]) for x, y, t in columns])
    np.testing.assert_array_equal(positions.astype(case["position"].dtype), case["position"])
    if patch is None:
        np.testing.assert_array_equal(np.concatenate([own["p"] for own in nodes]), case["polarity"])
    else:
        volumes = np.concatenate([log_time_volume(own, patch, case["volume"].shape[2]) for own in nodes])
        np.testing.assert_array_equal(volumes, case["volume"])


def events_of(nodes: Any) -> tuple[Any, Any, Any]:
    return (nodes.x, nodes.y, nodes.t) if isinstance(nodes, Tokens) else (nodes["x"], nodes["y"], nodes["t"])


def as_in_training(name: str) -> bool:
    """Whether the case's graph is one that training makes: in a GNN's first graph the nearest stay, as in the authors'
    loader. The others are in test_models_graph.py."""
    if not name:
        return True
    case = Case(name)
    return "edges1" not in case and not (case.about.get("rule") == "lowest" and case.model["kind"] == GNN)


@pytest.mark.parametrize("name", [name for name in ON_GRAPHS if as_in_training(name)])
def test_a_graph_model_is_the_authors(name: str) -> None:
    """From a clip's tokens or events to logits as in training."""
    case = Case(name)
    with torch.no_grad():
        logits = made(case).of_batch(batch_of(case)).numpy()
    np.testing.assert_allclose(logits, case["logits"], **tolerance(case))


# ---------------------------------------------------------------- counts


def count(preset: Any) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in make_model(preset.spec()).parameters())


@pytest.mark.parametrize(("name", "array"), arrays(8, array="^presets$"))
def test_presets_have_as_many_parameters_as_the_authors(name: str, array: str) -> None:
    case = Case(name)
    theirs = dict(zip(case["preset_names"].tolist(), case[array].tolist(), strict=True))
    classifiers = {own: counts for own, counts in theirs.items() if counts[2] == 0}  # nothing after the encoder
    assert {own: count(PRESETS[own]) for own in classifiers} == {own: counts[0] for own, counts in classifiers.items()}


@pytest.mark.parametrize(("name", "array"), arrays(8, array="^sizes$"))
def test_sizes_have_as_many_parameters_as_the_authors(name: str, array: str) -> None:
    case = Case(name)
    theirs = dict(zip(case["size_names"].tolist(), case[array].tolist(), strict=True))
    assert {own: count(PRESETS[f"{own.split()[0]}-T-SP"].with_size(own.split()[1])) for own in theirs} == theirs


# ---------------------------------------------------------------- nothing is left out

#: Sets of the index that are about classification; and, of any set, what is of the detectors.
OURS = (1, 2, 3, 7, 8)
OF_DETECTORS = re.compile(r"^grid_|\.boxes$|^boxes$")
#: Arrays that a test takes along with one that it is told of.
TAKEN_ALONG = re.compile(
    r"position$|\.sample$|\.input$|^input_|^gradient_|^edges$|^pseudo$|^pointnet\.|\.in_radius$|_names$"
    r"|^events$|^other$|^classes$|\.draws$|\.events$|\.uniform$"
)


def told(module: str) -> set[tuple[str, ...]]:
    """Cases, and cases with an array or a change, that tests of a module are parametrized with."""
    found: set[tuple[str, ...]] = set()
    for name, test in vars(importlib.import_module(f"tests.python.{module}")).items():
        if name.startswith("test_") and test is not test_every_case_of_classification_is_a_tests:
            for mark in getattr(test, "pytestmark", []):
                values = mark.args[1] if mark.name == "parametrize" else []
                bare = [getattr(value, "values", value) for value in values]  # of pytest.param
                found |= {value if isinstance(value, tuple) else (value,) for value in bare}
    return found


@pytest.mark.parametrize("name", cases(*OURS))
def test_every_case_of_classification_is_a_tests(name: str) -> None:
    """All of a model's case is looked at together; of the other cases, each array by itself."""
    about = Case(name).about
    seen = set().union(*map(told, ("test_models_golden", "test_models_graph", "test_augment_paper", "test_fit")))
    if "model" in about:
        assert (name,) in seen
        return
    for array in about["arrays"]:
        if not OF_DETECTORS.search(array) and not TAKEN_ALONG.search(array):
            assert (name, array) in seen or (name, array.rpartition(".")[0]) in seen, array
