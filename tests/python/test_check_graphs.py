"""GNN and PCN classifiers on a device: `sim` against the host, from events to edges, samples and logits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.boards.build import build
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.jobs.check import check
from spedge.jobs.results import result_difference
from spedge.link.protocol import Configuration
from spedge.model.bundle import Bundle
from spedge.model.parts import Gnn
from spedge.model.reference import Reference
from spedge.recordings import write
from tests.graph_bundles import SIDE, graph_bundle, spec_of, waving
from tests.needs import needs
from tests.tiny import require_compiled

needs("torch", "cc")


@pytest.fixture(scope="module", params=["gnn", "pcn"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    return graph_bundle(spec_of(request.param))


@pytest.fixture(scope="module")
def image(bundle: Bundle) -> Path:
    require_compiled("sim")
    return build(load_board("sim"), bundle).path


@pytest.fixture
def device(image: Path) -> Iterator[Device]:
    with open_board(load_board("sim"), image) as opened:
        yield opened


def recording(path: Path, seed: int, events: int) -> Path:
    write(path, waving(seed, events), SIDE, SIDE)
    return path


def test_edges_samples_and_logits_are_the_host_s(bundle: Bundle, device: Device, tmp_path: Path) -> None:
    """At the end and on the way, of windows that are full and not, with few events and with none that make a token."""
    paths = [recording(tmp_path / f"{n}.npz", seed, n) for seed, n in enumerate((2500, 700, 9))]
    for tokens, us in ((11, 0), (0, 20_000)):
        report = check(bundle, paths, device, every_tokens=tokens, every_us=us, window_us=us)
        assert [recording.problem for recording in report.recordings] == [None] * 3
        edges = [entry["edges"] for entry in report.to_json()["recordings"]]
        assert edges[0] > edges[1] > edges[2] == 0
        assert report.recordings[0].results > 5


def test_another_graph_fails(bundle: Bundle, device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host whose radii are a little smaller finds other neighbours, and says which."""
    config: Any = bundle.model
    smaller = {"node_radius": 1.3} if isinstance(config, Gnn) else {"radii": (1.1, config.radii[1])}
    given = Reference.graph

    def graph(reference: Reference, tokens: Any) -> Any:
        whole = reference.bundle
        reference.bundle = replace(whole, model=replace(config, **smaller))
        found = given(reference, tokens)
        reference.bundle = whole
        return found

    monkeypatch.setattr(Reference, "graph", graph)
    (checked,) = check(bundle, [recording(tmp_path / "a.npz", 1, 1500)], device).recordings
    assert checked.problem is not None
    assert "the graph's '" in checked.problem
    assert checked.outputs_max_abs_diff["logits"] < 1e-4


def test_live_results_are_the_host_s(bundle: Bundle, device: Device) -> None:
    events = waving(3, 2500)
    device.configure(Configuration(mode="live", push=True, every_us=20_000))
    for part in np.array_split(events, 20):
        device.offer(part)
        device.wait(0)
    device.finish()
    results = device.take_results()
    reference = Reference(bundle)
    tokens = reference.compute(events).tokens
    assert len(results) > 3
    assert all(result.loss.lost == 0 for result in results)
    for result in results:
        assert result_difference(reference, tokens, result, 0, 1e-4)[1] is None
