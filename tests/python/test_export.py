"""Bundles of every family: what ONNX Runtime computes of them is what torch does."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import UsageError
from spedge.cli import execute
from spedge.events.arrays import EVENT_DTYPE
from spedge.jobs.check_host import check_host
from spedge.model.bundle import CALIBRATION, Bundle
from spedge.model.graph import graph_arrays, graph_columns, graph_inputs
from spedge.model.parts import EventInput, Gnn, TokenInput, Transformer
from spedge.model.reference import Reference
from spedge.model.spec import Metric, ModelSpec
from spedge.model.window import Windower, structure_inputs
from spedge.training.presets import PRESETS, SIZES
from tests.golden_models import Case, cases
from tests.needs import needs
from tests.python.test_check_host import changed
from tests.variants import long

needs("torch")

import torch  # noqa: E402

from spedge.training.export.bundle import export_model, with_room  # noqa: E402
from spedge.training.export.fixed import FixedEncoder  # noqa: E402
from spedge.training.export.verify import noised  # noqa: E402
from spedge.training.export.whole import whole_of  # noqa: E402
from spedge.training.models.registry import make_model  # noqa: E402
from spedge.training.represent.collate import Item, collate  # noqa: E402
from spedge.training.represent.samples import Represent  # noqa: E402
from tests.python.test_models_golden import as_in_training, made  # noqa: E402
from tests.python.test_models_graph import features, with_given_edges  # noqa: E402

#: Of every family on every kind of input one; all are exported at full size by `make test-presets`.
SOME = (
    "DG-T-SP", "DG-T-F", "DG-PCN-V",
    *long("SL-T-V", "SL-GNN-SP", "DG-GNN-E", "SL-PCN-E"),
)  # fmt: skip


def waving(seed: int, events: int = 6000, start_us: int = 3000) -> np.ndarray:
    """A blob that goes round on a sensor of 128x128, from start_us on."""
    random = np.random.default_rng(seed)
    found = np.zeros(events, EVENT_DTYPE)
    found["t"] = np.sort(random.integers(start_us, 900_000, events))
    angle = found["t"] / 1e5 + seed
    for name, middle in (("x", 64 + 40 * np.cos(angle)), ("y", 64 + 40 * np.sin(angle))):
        found[name] = np.clip(middle + random.normal(0, 6, events), 0, 127)
    found["p"] = random.integers(0, 2, events)
    return found


def small(name: str) -> ModelSpec:
    """The description of a preset, nano in the place of base and of 300 events."""
    spec: ModelSpec = PRESETS[name].spec()
    if isinstance(spec.model, Transformer) and isinstance(spec.representation, TokenInput):
        nano = Transformer(*SIZES["nano"])
        embedding = replace(spec.representation.embedding, hidden=nano.hidden)
        spec = replace(spec, model=nano, representation=replace(spec.representation, embedding=embedding))
    if isinstance(spec.representation, EventInput):
        spec = replace(spec, representation=replace(spec.representation, count=300))
    return spec


def model_of(spec: ModelSpec) -> Any:
    """Random weights; norms that have seen something."""
    torch.manual_seed(1)
    model = make_model(spec).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, 0.0, 0.3)  # type: ignore[arg-type]
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    return model


def by_torch(model: Any, spec: ModelSpec, events: np.ndarray) -> np.ndarray:
    """Logits by the road of training."""
    batch = collate([Item(Represent(spec)(events), np.zeros(len(spec.labels), np.float32), 0)])
    with torch.no_grad():
        logits: np.ndarray = model.of_batch(batch.inputs)[0].numpy()
    return logits


@pytest.mark.parametrize("name", SOME)
def test_classifiers_of_all_kinds_are_exported(name: str, tmp_path: Path) -> None:
    """By the host's reference it gives what the trained model gives: from events to logits."""
    examples = [waving(0, 4000), waving(1, 2000)]
    spec = small(name)
    spec = replace(spec, training={"largest": len(Windower(spec).tokenize(examples[0]))})
    model = model_of(spec)
    learned = [waving(seed, 4000) for seed in range(5, 8)]
    bundle = export_model(model, with_room(spec), examples, tmp_path / "bundle", learned)
    reference = Reference(Bundle.load(bundle.path))
    for events in (*examples, waving(2, 3000)):
        expected = by_torch(model, spec, events)
        assert np.abs(reference.compute(events).logits - expected).max() < 1e-4
        tokens = reference.compute(events).tokens
        assert np.abs(reference.encoded(tokens)["logits"] - expected).max() < 1e-4
    more = waving(3, 7000)  # than there is room for: the newest count, of events the first
    assert np.abs(reference.compute(more).logits - by_torch(model, bundle.plain(), more)).max() < 1e-4
    assert np.isfinite(reference.compute(more[:0]).logits).all()
    report = check_host(bundle, [as_recording(waving(4, 3000), tmp_path)])
    assert [sample.problem for sample in report.samples] == [None] * 3
    assert (graph_columns(bundle.model) == ()) == isinstance(bundle.model, Transformer)
    assert [len(vector.events) for vector in bundle.vectors()] == [4000, 2000]
    assert [len(events) for events in bundle.calibration()] == [4000] * 3
    in_8_bits(bundle, examples[0], tmp_path)


def as_recording(events: np.ndarray, folder: Path, name: str = "events") -> Path:
    path = folder / f"{name}.npz"
    np.savez(path, t=events["t"], x=events["x"], y=events["y"], p=events["p"], width=128, height=128)
    return path


def in_8_bits(bundle: Bundle, events: np.ndarray, folder: Path) -> None:
    """Close to fp32, in less than half of the memory; other samples that were learned give other ranges."""
    needs("onnx")
    from spedge.compile import quantised_encoder

    graphs = [folder / "int8.onnx", folder / "few.onnx"]
    few = changed(folder / "few", bundle, lambda _: None, {CALIBRATION: {"events_00": bundle.calibration()[0][:2000]}})
    for whose, graph in zip((bundle, few), graphs, strict=True):
        quantised_encoder(whose, "int8", graph, lambda _: None)
    exact, rounded = (Reference(bundle, graph).compute(events).logits for graph in (None, graphs[0]))
    assert 0 < np.abs(exact - rounded).max() < 0.1 * np.abs(exact).max()
    assert graphs[0].stat().st_size < 0.45 * bundle.file("encoder.onnx").stat().st_size
    assert graphs[0].read_bytes() != graphs[1].read_bytes()


@pytest.fixture(scope="module")
def pcn(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a PCN on events."""
    spec = small("DG-PCN-E")
    bundle: Bundle = export_model(model_of(spec), spec, [waving(0, 500)], tmp_path_factory.mktemp("pcn"))
    return bundle


def test_what_takes_transformers_only_says_what_takes_all(
    pcn: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And that does."""
    recording = as_recording(waving(3, 1000), tmp_path)
    path = str(pcn.path)
    needs("tvm", "platformio")
    for given in (
        ["compile", path, "--target", "native", "--out", str(tmp_path / "c")],
        ["check", path, str(recording)],
        ["run", path, str(recording)],
    ):
        assert execute(given) == 4
        assert "on events: choose another preset, or 'spedge check --board host', which takes all" in (
            capsys.readouterr().err
        )
    assert execute(["check", path, str(recording), "--board", "host"]) == 0
    assert "host: 2 of 2 passed" in capsys.readouterr().out


def test_a_recording_is_a_sample_that_begins_with_its_first_event(pcn: Bundle, tmp_path: Path) -> None:
    """Whatever its clock says: it is a model's whose times count from a sample's start."""
    checks = []
    for start in (0, 10**9):
        events = waving(3, 1000)
        events["t"] += np.uint64(start)
        checks.append(check_host(pcn, [as_recording(events, tmp_path, f"{start}")]).samples[-1])
    assert replace(checks[0], name="", embedded_diff=0.0) == replace(checks[1], name="", embedded_diff=0.0)


def test_a_changed_graph_is_named(pcn: Bundle, tmp_path: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        arrays["edges2_0"][0, 5] += 1

    problem = check_host(changed(tmp_path, pcn, change)).samples[0].problem
    assert problem == "its graph differs in 'edges2' from the one that was kept"


@pytest.mark.parametrize("name", cases(3, kind="GNN classifier") + cases(3, kind="PCN classifier"))
def test_a_graph_of_fixed_size_gives_the_authors_logits(name: str) -> None:
    """Their index arrays where they are given; rows and columns past the counts are of any numbers."""
    case = Case(name)
    spec, model = case.spec(), made(case)
    starts = np.concatenate([[0], np.cumsum(case["count"])])
    places = [case["position"][a:b] for a, b in pairwise(starts)]
    graphs: list[Any] = [graph_arrays(positions, spec.model) for positions in places]
    if "edges1" in case:
        assert isinstance(spec.model, Gnn)
        spec = replace(spec, model=replace(spec.model, rule="lowest"))  # room for 33 neighbours
        graphs = [with_given_edges(case, graphs[0], spec.model)]  # type: ignore[arg-type]
    if as_in_training(name) or "edges1" in case:
        room = max(case["count"]) + 5
        with torch.no_grad():
            rows = features(case)
            for graph, (a, b), logits in zip(graphs, pairwise(starts), case["logits"], strict=True):
                tokens = torch.cat([rows[a:b], torch.full((room - (b - a), rows.shape[1]), 99.0)])[None]
                inputs = [torch.from_numpy(part) for part in graph_inputs(graph, spec.model, room).values()]
                got = FixedEncoder(model)(tokens, *inputs)[0].numpy()
                np.testing.assert_allclose(got, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["DG-T-SP", "DG-GNN-E", "DG-PCN-SP"])
@pytest.mark.parametrize("count", [0, 1, 7, 40])
def test_what_lies_past_the_counts_is_never_looked_at(name: str, count: int) -> None:
    spec = small(name).with_window(40) if name[-1] == "P" else small(name)
    whole = whole_of(model_of(spec), spec)
    random = np.random.default_rng(count)
    positions = random.uniform(0, 1, (count, 3)) * (8, 8, 3)
    graph = None if isinstance(spec.model, Transformer) else graph_arrays(positions, spec.model)
    inputs = whole.oracle_example() | structure_inputs(spec, count, graph)
    noisy = noised(inputs, count, spec, random)
    assert count == 40 or any(not np.array_equal(noisy[part], inputs[part]) for part in inputs)
    with torch.no_grad():
        clean, other = (
            whole.oracle(*(torch.from_numpy(part) for part in given.values()))[0] for given in (inputs, noisy)
        )
        expected = whole.logits(whole.embed(inputs)[:, :count], graph)
    assert torch.allclose(clean, expected, atol=1e-5)
    assert torch.allclose(clean, other, atol=1e-5)


def test_the_bundle_says_for_how_many_tokens_it_has_room() -> None:
    spec = small("DG-T-SP")
    with pytest.raises(UsageError, match=r"tokens the samples of 'DG-T-SP' had is not known: .* with --tokens"):
        with_room(spec)
    assert with_room(spec, 40).window == 40
    known = replace(spec, metric=Metric("top1", 0.5, "test", 10), training={"largest": 70})
    assert with_room(known) == known.with_window(70)
    assert (with_room(known, 70).metric, with_room(known, 69).metric) == (known.metric, None)
    assert (with_room(known, 69).name, with_room(known, 69).representation.origin) == ("DG-T-SP-t69", "sample")
    live = with_room(known, times="window")
    assert (live.window, live.representation.origin, live.metric) == (70, "window", None)
    for wrong, words in (("start", "cannot count from 'start'"), ("sample", "do not count from the sample")):
        with pytest.raises(UsageError, match=words):
            with_room(live, times=wrong)
    with pytest.raises(UsageError, match="takes events and has no window"):
        with_room(small("DG-GNN-E"), 40)


# ---------------------------------------------------------------- 8 bits


def test_what_cannot_be_rounded_is_refused(pcn: Bundle, tmp_path: Path) -> None:
    from spedge.compile import CompileError, quantised_encoder

    with pytest.raises(UsageError, match="a pcn is there in fp32 and int8, not in int8w"):
        quantised_encoder(pcn, "int8w", tmp_path / "int8w.onnx", lambda _: None)
    without = changed(tmp_path / "without", pcn, dict.clear)
    with pytest.raises(CompileError, match="keeps none: export it again"):
        quantised_encoder(without, "int8", tmp_path / "int8.onnx", lambda _: None)


def test_a_whole_sample_is_compiled_when_its_times_count_from_the_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence that refuses the one is followed to the other."""
    needs("tvm")
    from spedge.training.checkpoint import Checkpoint

    spec = small("DG-T-SP")
    assert isinstance(spec.model, Transformer)
    spec = replace(spec, model=replace(spec.model, layers=1), training={"largest": 12})
    Checkpoint(tmp_path / "run" / "checkpoint.pt", spec, model_of(spec).state_dict(), (waving(0, 4000),)).save()
    run, whole, live = (str(tmp_path / name) for name in ("run", "whole", "live"))
    assert execute(["export", run, "--out", whole]) == 0
    assert execute(["compile", whole, "--target", "native", "--out", str(tmp_path / "c")]) != 0
    said = capsys.readouterr().err
    assert "counts times from a sample's start" in said
    assert "'spedge export --times window'" in said
    assert execute(["export", run, "--out", live, "--times", "window"]) == 0
    assert execute(["compile", live, "--target", "native", "--out", str(tmp_path / "c")]) == 0
    events = waving(0, 4000)
    assert np.abs(Reference(Bundle.load(whole)).compute(events).logits).max() > 0
    assert execute(["check", live, "--board", "host"]) == 0


def test_voxels_are_not_compiled_and_the_sentence_says_what_can() -> None:
    from spedge.compile import CompileError
    from spedge.compile.supported import supported

    spec = replace(small("DG-T-V"), representation=replace(small("DG-T-V").token_input, window=40, origin="window"))
    with pytest.raises(CompileError, match=r"by the continuous: .* or 'spedge check --board host'"):
        supported(spec)
