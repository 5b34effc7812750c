"""Named outputs of any size on a device: whole, of one result each, or said to be gone."""

from __future__ import annotations

import json
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from spedge.base.errors import DeviceError, DeviceRefused, UsageError
from spedge.base.outputs import Output
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words
from spedge.jobs.check import check
from spedge.link.faults import Faults
from spedge.link.frames import Type
from spedge.link.link import Timeouts
from spedge.link.protocol import Configuration, ValuesPage
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from spedge.recordings import write
from tests.ends import cli_command
from tests.events import scattered
from tests.needs import needs
from tests.tiny import SANITIZED, SMALL_FRAMES, build_firmware, model_source
from tests.wide import NAMES, SHAPES, require_whole, wide_source, widened

needs("cc")

BAD = Faults(drop=0.01, flip=0.01, dup=0.02, swap=0.02, seed=3)
HASTY = Timeouts(resend_least=0.02, resend_most=0.1)
LOGITS_LAST = ("boxes", "heat", "logits")  # then not even the logits come with a result


@pytest.fixture(scope="module", params=[NAMES, LOGITS_LAST], ids=["logits first", "logits last"])
def names(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return tuple(request.param)


@pytest.fixture(scope="module")
def wide(names: tuple[str, ...], bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return widened(bundle, tmp_path_factory.mktemp("wide") / "bundle", names)


@pytest.fixture(scope="module")
def image(names: tuple[str, ...], wide: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In frames as the boards have them, and under the sanitizers once."""
    flags = SANITIZED if names == NAMES else SMALL_FRAMES
    return build_firmware("sim", tmp_path_factory.mktemp("image") / "sim", wide_source(wide), flags)


@pytest.fixture(scope="module")
def causal(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return widened(bundle, tmp_path_factory.mktemp("causal") / "bundle", causal=True)


@pytest.fixture(scope="module")
def causal_device(causal: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Device]:
    image = build_firmware("sim", tmp_path_factory.mktemp("causal") / "sim", wide_source(causal), SANITIZED)
    with open_board(load_board("sim"), image) as opened:
        yield opened


def some_words(n: int = 2000, seed: int = 0, start: int = 0) -> np.ndarray:
    return encode_words(scattered(n, 40 * n, seed, 34, start))


def values(device: Device, run: int, first: int) -> ValuesPage:
    return ValuesPage.unpack(device.link.request(Type.VALUES, struct.pack("<II", run, first)).payload)


# ---- what a result has -------------------------------------------------------------------------------------------


def test_the_device_names_its_outputs(device: Device, names: tuple[str, ...]) -> None:
    assert device.outputs == tuple(Output(name, SHAPES[name]) for name in names)
    assert (device.hello.task, device.hello.outputs, device.hello.numbers) == ("classification", 3, 65_536 + 70_000 + 3)


def test_a_result_that_is_asked_for_has_all_of_them(device: Device, wide: Bundle, names: tuple[str, ...]) -> None:
    events = scattered(2000, 80_000, side=34)
    device.configure(Configuration())
    device.send(encode_words(events))
    result = device.infer()
    require_whole(result.outputs, names)
    assert (result.gone, result.run) == ((), 1)
    host = Reference(wide).compute(events).outputs
    assert {name: tensor.shape for name, tensor in host.items()} == {name: SHAPES[name] for name in names}
    assert all(np.abs(result.outputs[name] - host[name]).max() < 1e-4 * np.abs(host[name]).max() for name in names)
    require_whole(device.infer().outputs, names)


def test_only_the_outputs_that_are_wanted_are_read(device: Device) -> None:
    device.configure(Configuration(outputs=("heat",)))
    device.send(some_words())
    before = device.stats().frames
    result = device.infer()
    asked = device.stats().frames - before
    assert list(result.outputs) in (["heat"], ["logits", "heat"])  # what came with the result is there all the same
    assert result.gone == ()
    assert 65_536 / 254 <= asked < 65_536 / 254 + 6
    with pytest.raises(UsageError, match="has no output flow; its outputs are: "):
        device.configure(Configuration(outputs=("flow",)))


@pytest.mark.parametrize("faults", [None, BAD], ids=["good", "bad"])
def test_lossless_results_are_all_whole(image: Path, names: tuple[str, ...], faults: Faults | None) -> None:
    """The device waits with the next one until this one has been read, over a line that loses frames, too."""
    # a good line is not asked twice, however busy this machine is
    timeouts = HASTY if faults else Timeouts(resend_least=60, resend_most=60, silence=120, work=120)
    with open_board(load_board("sim"), image, timeouts=timeouts, faults=faults) as device:
        configured = device.configure(Configuration(every_tokens=30, push=faults is None))
        assert configured.results == 1
        device.send(some_words(2500))
        last = device.infer()
        results = device.take_results()
        stats = device.stats()
        assert [r.index for r in results] == list(range(stats.tokens // 30))
        assert len(results) >= 3 and [r.run for r in results] == [r.index + 1 for r in results]
        for result in (*results, last):
            require_whole(result.outputs, names)
        assert len({r.outputs["logits"].tobytes() for r in results}) == len(results)
        assert (stats.loss.lost, stats.loss.results_dropped) == (0, 0)
        assert (device.resent > 0) == (faults is not None)


def test_the_device_does_not_compute_while_there_are_numbers_to_be_read(device: Device) -> None:
    device.configure(Configuration(every_tokens=5))
    sender, words = device.session.sender, some_words(1000).tobytes()
    for at in range(0, len(words), 1000):
        sender.offer(words[at : at + 1000])
        frame = sender.next_frame()
        assert frame is not None
        device.link.put(frame)
    device.link.request(Type.FLUSH)
    assert device.stats().results_kept == 1
    with pytest.raises(DeviceRefused, match="INFER"):
        device.link.request(Type.INFER)
    assert values(device, 1, 0).run == 1
    require_whole(device.infer().outputs, tuple(o.name for o in device.outputs))  # reads that result before it asks


# ---- what is gone ------------------------------------------------------------------------------------------------


def test_numbers_are_those_of_the_run_that_was_asked_for_or_none(device: Device) -> None:
    device.configure(Configuration(outputs=()))
    device.send(some_words())
    first = device.infer()
    page = values(device, first.run, 100_000)
    assert (page.run, page.first, len(page.numbers)) == (1, 100_000, 254)
    again = values(device, first.run, 100_000)
    assert again.numbers.tolist() == page.numbers.tolist()
    assert [len(values(device, 1, n).numbers) for n in (0, 135_538, 135_539, 2**32 - 1)] == [254, 1, 0, 0]
    device.send(some_words(start=80_000))
    assert device.infer().run == 2
    for run in (0, 1, 3, 2**32 - 1):
        gone = values(device, run, 100_000)
        assert (gone.run, gone.numbers.tolist()) == (2, [])
    assert values(device, 2, 100_000).numbers.tolist() != page.numbers.tolist()
    device.reset()
    assert (values(device, 2, 0).run, values(device, 0, 0).numbers.tolist()) == (0, [])


def test_what_cannot_be_read_any_more_is_named(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another inference, by whomever, after the first page has been read: what was read is not mixed with it."""
    device.configure(Configuration())
    device.send(some_words())
    request, asked = device.link.request, []

    def interfering(kind: Type, payload: bytes = b"", **more: bool) -> object:
        asked.append(kind)
        if asked.count(Type.VALUES) == 3 and kind == Type.VALUES:
            request(Type.INFER)
        return request(kind, payload, **more)

    monkeypatch.setattr(device.link, "request", interfering)
    result = device.infer()
    assert asked.count(Type.VALUES) == 3
    assert set(result.gone) == {name for name in SHAPES if name not in result.outputs} >= {"heat", "boxes"}
    if "logits" in result.gone:
        with pytest.raises(DeviceError, match="had gone on before its logits could be read"):
            _ = result.logits
    monkeypatch.undo()
    require_whole(device.infer().outputs, tuple(o.name for o in device.outputs))


def test_live_results_are_whole_or_gone(device: Device, names: tuple[str, ...]) -> None:
    """Live, nobody waits: when all has been computed, the device has the numbers of the last result only."""
    device.configure(Configuration(mode="live", every_tokens=5, push=True))
    for i in range(10):
        device.offer(scattered(250, 10_000, i, 34, 10_000 * i))
        device.wait(0.02)
    device.finish()
    results = device.take_results()
    assert len(results) >= 3
    missing = {"heat", "boxes"} | ({"logits"} if names == LOGITS_LAST else set())
    assert any(result.gone for result in results)
    for result in results:
        if result.gone:
            assert set(result.gone) == missing
            assert set(result.outputs) == set(SHAPES) - missing
        else:
            require_whole(result.outputs, names)
    require_whole(results[-1].outputs, names)
    require_whole(device.infer().outputs, names)
    assert device.stats().imbalance(2500) is None


def test_a_stateful_model_keeps_its_numbers_until_the_next_token(causal_device: Device) -> None:
    device = causal_device
    device.configure(Configuration(outputs=()))
    device.send(some_words())
    run = device.infer().run
    assert len(values(device, run, 0).numbers) == 254
    tokens = device.flush().tokens
    device.send(some_words(start=80_000))
    assert device.flush().tokens > tokens
    assert (values(device, run, 0).run, values(device, run, 0).numbers.tolist()) == (0, [])
    device.configure(Configuration(every_tokens=30))
    device.send(some_words())
    for result in (*device.take_results(), device.infer()):
        require_whole(result.outputs)


# ---- what a classifier pays --------------------------------------------------------------------------------------


def test_a_classifier_costs_no_request_more(bundle: Bundle, tmp_path: Path) -> None:
    image = build_firmware("sim", tmp_path / "sim", model_source(bundle), SMALL_FRAMES)
    with open_board(load_board("sim"), image) as device:
        assert device.stats().frames == 2  # HELLO, STATS
        assert device.outputs == (Output("logits", (3,)),)
        assert device.configure(Configuration(every_tokens=30)).results == 8
        device.configure(Configuration())
        device.send(some_words(200))
        before = device.stats().frames
        assert device.infer().outputs.keys() == {"logits"}
        assert device.stats().frames - before == 3  # FLUSH, INFER, STATS


# ---- verbs -------------------------------------------------------------------------------------------------------


def recording(path: Path) -> Path:
    write(path, scattered(3000, 300_000, 1, 34, 5_000_000), 34, 34)
    return path


def test_check_compares_every_output(device: Device, wide: Bundle, tmp_path: Path) -> None:
    path = recording(tmp_path / "a.npz")
    report = check(wide, [path], device, every_tokens=30)
    (outcome,) = report.recordings
    assert (outcome.problem, outcome.results > 2) == (None, True)
    assert set(outcome.outputs_max_abs_diff) == set(SHAPES)
    document = json.loads(json.dumps(report.to_json(), allow_nan=False))["recordings"][0]
    assert document["outputs_max_abs_diff"].keys() == SHAPES.keys()
    assert document["outputs_max_abs_diff"]["logits"] == document["logits_max_abs_diff"] < 1e-5


@pytest.mark.parametrize("wrong", ["heat", "boxes"])
def test_check_finds_one_wrong_number(wrong: str, bundle: Bundle, tmp_path: Path) -> None:
    wide = widened(bundle, tmp_path / "bundle")
    image = build_firmware("sim", tmp_path / "sim", wide_source(wide, wrong), SMALL_FRAMES)
    with open_board(load_board("sim"), image) as device:
        (outcome,) = check(wide, [recording(tmp_path / "a.npz")], device).recordings
    assert outcome.problem is not None and f"difference of the output '{wrong}' is 1e+03" in outcome.problem


def test_check_of_a_stateful_model_compares_every_output(causal_device: Device, causal: Bundle, tmp_path: Path) -> None:
    (outcome,) = check(causal, [recording(tmp_path / "a.npz")], causal_device, every_tokens=30).recordings
    assert (outcome.problem, outcome.results > 2) == (None, True)


def test_run_prints_logits_and_the_shapes_of_other_outputs(image: Path, wide: Bundle, tmp_path: Path) -> None:
    path = recording(tmp_path / "a.npz")
    command = cli_command(image, "run", wide.path, path, "--every-tokens", 30, "--every-ms", 0)
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, timeout=60, check=True)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    results = [line for line in lines if "logits" in line]
    assert len(results) > 2 and all(set(r["logits"]) == set(wide.labels) for r in results)
    assert results[0]["outputs"] == {name: list(shape) for name, shape in SHAPES.items()}
    assert next(line["summary"] for line in lines if "summary" in line)["results_unread"] == 0
    if list(SHAPES) != [output.name for output in wide.outputs]:
        return  # what is printed does not depend on the order
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert "heat 256x256" in done.stdout and "boxes 17500x4" in done.stdout
