"""The board `host`: the application of boards as a process of this machine, with ONNX Runtime as its encoder."""

from __future__ import annotations

import contextlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from spedge import cli
from spedge.base.errors import DeviceGone, InputError
from spedge.boards.host import IMAGE, encoder, host_board
from spedge.device.open import Device, open_board
from spedge.events.arrays import EVENT_DTYPE
from spedge.events.evt2 import Encoder
from spedge.jobs.check import check
from spedge.jobs.play import load_events, play, recordings_for
from spedge.link.faults import Faults
from spedge.link.protocol import Configuration
from spedge.model.bundle import Bundle, write_bundle
from spedge.model.providers import provider_names, provider_session, short
from spedge.model.reference import Reference
from tests.needs import needs

ASSETS = Path(__file__).resolve().parents[2] / "host/spedge/assets"
BUNDLE = ASSETS / "gestures-pico"
CLIPS = recordings_for(Bundle.load(BUNDLE), ASSETS / "recordings")


def opened(bundle: Bundle, faults: Faults | None = None) -> Device:
    return open_board(host_board(bundle), IMAGE, faults=faults)


def test_it_computes_what_the_reference_does_without_a_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every recording, results on the way, a bad line: as `check` asks of any board. No program is found on the way."""
    monkeypatch.setenv("PATH", "/nowhere")
    bundle = Bundle.load(BUNDLE)
    with opened(bundle, Faults.parse("drop=0.02,flip=0.02,seed=3")) as device:
        assert device.hello.model == bundle.name and device.hello.cost_unit == "ns"
        report = check(bundle, CLIPS[:3], device, "host", every_us=100_000, every_tokens=20)
    assert report.passed
    assert all(one.results > 5 and one.tokens_equal for one in report.recordings)


def test_a_causal_model_begins_a_window_anew_when_one_is_full(tmp_path: Path) -> None:
    needs("onnx", "tvm")
    from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder

    shape = Shape(tokens=24, hidden=48, intermediate=32, heads=4, layers=1, classes=3, causal=True)
    made = make_bundle(tmp_path / "small", make_encoder(shape), shape)
    with opened(made) as device:
        device.configure(Configuration())
        rng = np.random.default_rng(5)
        n = 34 * 34 * 60
        events = np.zeros(n, EVENT_DTYPE)
        events["t"] = np.sort(rng.integers(0, 900_000, n))
        for name, most in (("x", 34), ("y", 34), ("p", 2)):
            events[name] = rng.integers(0, most, n)
        words = Encoder().words(events)
        reference = Reference(made)
        device.send(words[: len(words) // 2])
        first = device.infer()
        device.send(words[len(words) // 2 :])
        last = device.infer()
        tokens, _ = reference.tokenize(events, device.session.configured.pool_events)  # type: ignore[union-attr]
        assert len(tokens) > 5 * shape.tokens and first.newest < last.newest == len(tokens)
        for result in (first, last):
            assert result.window == made.window_tokens(result.newest) <= shape.tokens
        rows = reference.encoder_input(tokens)[-last.window :]
        np.testing.assert_allclose(last.logits, reference.encode(rows), atol=1e-4)


def test_run_and_check_take_it_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "results.jsonl"
    assert cli.execute(["run", str(BUNDLE), str(CLIPS[0]), "--board", "host", "--out", str(out)]) == 0
    assert "all accounted     yes" in capsys.readouterr().out
    lossless = [json.loads(line) for line in out.read_text().splitlines()]
    assert lossless[-1]["label"] == CLIPS[0].stem
    live = ["run", str(BUNDLE), str(CLIPS[0]), "--board", "host", "--speed", "20", "--provider", "cpu", "--json"]
    assert cli.execute(live) == 0
    assert len(capsys.readouterr().out.splitlines()) > 2
    assert cli.execute(["check", str(BUNDLE), str(CLIPS[1]), "--board", "host", "--provider", "cpu", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["board"] == "host" and report["passed"] and report["cost_unit"] == "ns"


def test_sentences_about_providers_are_followed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", str(BUNDLE), str(CLIPS[0])]
    assert cli.execute([*run, "--provider", "cpu"]) == 2
    assert "--provider is for --board host" in capsys.readouterr().err
    assert cli.execute([*run, "--board", "host", "--precision", "int8"]) == 2
    assert "in fp32" in capsys.readouterr().err
    assert cli.execute([*run, "--board", "host", "--provider", "gpu"]) == 2
    assert "choose of" in capsys.readouterr().err
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    assert cli.execute([*run, "--board", "host", "--provider", "tensorrt,cuda"]) == 2
    said = capsys.readouterr().err
    assert "has no provider 'tensorrt', only cpu: pip install onnxruntime-gpu in the place of onnxruntime" in said
    monkeypatch.setattr(
        onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
    )
    assert provider_names("cuda, CPU") == ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert provider_names("CPUExecutionProvider") == ["CPUExecutionProvider"]


def test_a_provider_that_does_not_start_is_not_replaced_in_silence(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime takes the next one with a warning."""
    wanted = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    real = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path, options, providers: real(path, options))
    with pytest.raises(InputError, match="provider cuda does not start on this machine"):
        provider_session(BUNDLE / "encoder.onnx", wanted)
    assert short(provider_session(BUNDLE / "encoder.onnx", ["CPUExecutionProvider"]).get_providers()[0]) == "cpu"


def test_a_bundle_that_is_damaged_meanwhile_ends_it_with_a_sentence(tmp_path: Path) -> None:
    bundle = Bundle.load(shutil.copytree(BUNDLE, tmp_path / "bundle"))
    (bundle.path / "encoder.onnx").write_bytes(b"nothing")
    with pytest.raises(DeviceGone, match=r"host ended with status 1: .*encoder\.onnx is damaged or was changed"):
        opened(bundle)


def test_an_encoder_that_fails_ends_it_with_its_reason(tmp_path: Path) -> None:
    """One that can do without tokens only."""
    needs("onnx")
    import onnx

    bundle = Bundle.load(BUNDLE)
    model = onnx.load(bundle.file("encoder.onnx"))
    helper, tensor = onnx.helper, onnx.TensorProto
    (logits,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = ["kept" if name == logits.name else name for name in node.output]
    model.graph.initializer.append(helper.make_tensor("zero", tensor.FLOAT, [1], [0.0]))
    model.graph.node.extend(
        [
            helper.make_node("Gather", ["zero", "length"], ["nothing"]),
            helper.make_node("Add", ["kept", "nothing"], [logits.name]),
        ]
    )
    files = {name: bundle.file(name).read_bytes() for name in bundle.files}
    files["encoder.onnx"] = model.SerializeToString()
    broken = write_bundle(tmp_path / "broken", bundle, files)
    encoder(broken, ["CPUExecutionProvider"])  # runs once, without tokens
    with opened(broken) as device, pytest.raises(DeviceGone, match=r"host ended with status 3: .*Gather"):
        list(play(device, broken, load_events(CLIPS[0], broken)))


def test_a_model_that_the_application_does_not_run_is_refused() -> None:
    bundle = Bundle.load(BUNDLE)
    other = replace(bundle, representation=replace(bundle.token_input, origin="sample"))
    with pytest.raises(InputError, match="takes models of the continuous tokenizer"):
        host_board(other)


def test_it_ends_with_its_host(tmp_path: Path) -> None:
    bundle = Bundle.load(shutil.copytree(BUNDLE, tmp_path / "bundle"))
    device = opened(bundle)
    assert _processes_on(bundle)
    device.close()
    assert not _processes_on(bundle)


def _processes_on(bundle: Bundle) -> list[Path]:
    """Those with its path in their command lines."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if str(bundle.path).encode() in path.read_bytes():
                found.append(path)
    return found
