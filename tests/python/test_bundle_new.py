"""Bundles around encoders from elsewhere: what is taken, what is verified, what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge import cli
from spedge.base.errors import CheckFailed, InputError, UsageError
from spedge.jobs.bundle_new import new_bundle
from spedge.jobs.play import load_events
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from tests.needs import needs

needs("onnx")

import onnx  # noqa: E402
from onnx import TensorProto, helper  # noqa: E402

ASSETS = Path(__file__).resolve().parents[2] / "host/spedge/assets"
OURS = ASSETS / "gestures-pico"
CLIP = ASSETS / "recordings/clap.raw"


def settings(folder: Path, **changed: Any) -> Path:
    document = json.loads((OURS / "bundle.json").read_text())
    seen = document["representation"]
    own: dict[str, Any] = {
        "name": "from elsewhere",
        "sensor": document["sensor"],
        "labels": document["task"]["labels"],
        "tokenizer": {name: seen["tokenizer"][name] for name in ("patch_size", "threshold")},
        "embedding": {name: seen["embedding"][name] for name in ("buckets", "time_scale_us")},
    }
    path = folder / "settings.json"
    path.write_text(json.dumps({k: v for k, v in (own | changed).items() if v is not None}))
    return path


def mean_of_rows(folder: Path, masked: bool, hidden: int = 64, rows: int = 16) -> Path:
    """No transformer: a linear of the sum of the rows, of those before length if `masked`."""
    rng = np.random.default_rng(1)
    arrays = {
        "index": np.arange(rows, dtype=np.int32)[None, :, None],
        "none": np.float32(0),
        "axis": np.array([1], np.int64),
        "weight": rng.normal(0, 0.1, (hidden, 3)).astype(np.float32),
    }
    nodes = [helper.make_node("Less", ["index", "length"], ["there"])]
    nodes += [helper.make_node("Where", ["there", "tokens", "none"], ["kept"])] if masked else []
    nodes += [
        helper.make_node("ReduceSum", ["kept" if masked else "tokens", "axis"], ["sum"], keepdims=0),
        helper.make_node("MatMul", ["sum", "weight"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes if masked else nodes[1:],
        "mean",
        [
            helper.make_tensor_value_info("tokens", TensorProto.FLOAT, [1, rows, hidden]),
            helper.make_tensor_value_info("length", TensorProto.INT32, [1]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 3])],
        [onnx.numpy_helper.from_array(np.asarray(a), name) for name, a in arrays.items()],
    )
    path = folder / "mean.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_our_own_encoder_becomes_the_bundle_that_it_came_from(tmp_path: Path) -> None:
    """The graph with the embedding is written anew here, and computes what torch's does."""
    made = new_bundle(OURS / "encoder.onnx", settings(tmp_path), OURS / "embedding.npz", tmp_path / "out", [CLIP])
    assert made.samples == 1 and made.difference < 1e-5
    ours, again = Reference(Bundle.load(OURS)), Reference(made.bundle)
    events = load_events(CLIP, made.bundle)
    one, other = ours.compute(events), again.compute(events)
    np.testing.assert_array_equal(one.tokens.t, other.tokens.t)
    np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)
    assert made.bundle.verdict(other.logits)[0] == "clap"


def test_any_graph_with_these_inputs_runs_on_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    encoder, own = mean_of_rows(tmp_path, True), settings(tmp_path, labels=["a", "b", "c"])
    command = ["bundle", "new", str(encoder), "--settings", str(own), "--embedding", str(OURS / "embedding.npz")]
    assert cli.execute([*command, "--out", str(tmp_path / "out"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["name"] == "from elsewhere" and said["samples"] == 3 and said["largest_difference"] < 1e-4
    check = ["check", said["bundle"], str(CLIP), "--board", "host"]
    assert cli.execute([*check, "--provider", "cpu", "--every-ms", "100"]) == 0
    assert cli.execute(check) == 0
    assert cli.execute(["run", said["bundle"], str(CLIP), "--board", "host", "--json"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert set(lines[0]["logits"]) == {"a", "b", "c"}


def test_rows_behind_length_may_not_matter(tmp_path: Path) -> None:
    encoder = mean_of_rows(tmp_path, False)
    own = settings(tmp_path, labels=["a", "b", "c"])
    with pytest.raises(CheckFailed, match=r"with length 0 the rows behind it change logits by .*mask the others"):
        new_bundle(encoder, own, OURS / "embedding.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changed", "wanted"),
    [
        ({"labels": ["one", "two"]}, "for 2 labels"),
        ({"labels": None}, "no object of sensor, labels"),
        ({"sensors": {}}, "no object of sensor, labels"),
        ({"sensor": {"width": 0, "height": 4}}, "cannot be those of a model"),
        ({"tokenizer": {"patchsize": 8}}, "cannot be those of a model"),
        ({"tokenizer": {"patch_size": 8, "threshold": 192}}, r"with these settings they are float32 \[64, 256\]"),
        ({"embedding": {"buckets": 2, "hidden": 32, "time_scale_us": 1e4}}, "cannot be those of a model"),
    ],
)
def test_settings_that_do_not_fit_are_named(tmp_path: Path, changed: dict[str, Any], wanted: str) -> None:
    with pytest.raises(InputError, match=wanted):
        new_bundle(OURS / "encoder.onnx", settings(tmp_path, **changed), OURS / "embedding.npz", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_graphs_and_files_of_another_kind_are_named(tmp_path: Path) -> None:
    own = settings(tmp_path)
    with pytest.raises(InputError, match="takes volumes, positions, length: an encoder takes tokens"):
        new_bundle(OURS / "model.onnx", own, OURS / "embedding.npz", tmp_path / "out")
    with pytest.raises(InputError, match="not a valid ONNX model"):
        new_bundle(own, own, OURS / "embedding.npz", tmp_path / "out")
    with pytest.raises(InputError, match=r"cannot be read as an \.npz"):
        new_bundle(OURS / "encoder.onnx", own, own, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="files that are no bundle"):
        new_bundle(OURS / "encoder.onnx", own, OURS / "embedding.npz", tmp_path / "mine")
