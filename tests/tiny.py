"""A bundle small enough to be written out by hand, and its model in C: devices are tested without torch and TVM.

The encoder is one linear map of the mean of the tokens. The graphs are made node by node with onnx; the C is written
against the same arrays. Nothing here is shared with spedge.training or spedge.compile.
"""

from __future__ import annotations

import importlib.util
import io
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from spedge.boards.build import build
from spedge.boards.manifest import load_board
from spedge.boards.parts import provide
from spedge.boards.platformio import BuildError
from spedge.device.open import Device
from spedge.link.frames import FrameReader, Type
from spedge.link.protocol import Result
from spedge.link.transport import Transport
from spedge.model.bundle import Bundle, write_bundle
from spedge.model.parts import Embedding, Sensor, TokenInput, Transformer
from spedge.model.spec import describe
from spedge.tokens.settings import KINDS, TokenizerSettings
from tests.needs import needs

#: For build_firmware("sim").
SANITIZED = (
    "-O1",
    "-g",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-DSP_DEBUG",
    "-DSP_APP_PAYLOAD_BYTES=1024u",
)
SMALL_FRAMES = ("-O2", "-DSP_APP_PAYLOAD_BYTES=1024u")  #: as the boards have them; `sim` itself is built for speed
HIDDEN, BUCKETS, PATCH, TOKENS, CLASSES = 14, 6, 4, 24, 3


def tiny_bundle(
    folder: Path, seed: int = 0, positions: type = np.float64, tokenizer: TokenizerSettings | None = None
) -> Bundle:
    """A bundle for a 34x34 sensor whose model.onnx and encoder.onnx agree. positions: dtype that model.onnx takes.

    tokenizer: another than the continuous one."""
    rng = np.random.default_rng(seed)
    cells = 2 * BUCKETS * PATCH**2
    weight = rng.normal(0, 0.3, (HIDDEN, cells)).astype(np.float32)
    bias = rng.normal(0, 0.3, HIDDEN).astype(np.float32)
    head = rng.normal(0, 1, (HIDDEN, CLASSES)).astype(np.float32)
    spec = describe(
        "tiny",
        "tiny",
        Sensor(34, 34),
        ("left", "right", "neither of the two"),
        TokenInput(
            tokenizer or TokenizerSettings(patch_size=PATCH, threshold=16.0),
            Embedding(BUCKETS, HIDDEN, 10_000.0),
            window=TOKENS,
        ),
        Transformer(HIDDEN, intermediate=1, heads=1, layers=1),
    )
    arrays = io.BytesIO()
    np.savez(arrays, weight=weight, bias=bias)
    empty = io.BytesIO()
    np.savez(empty)
    files = {
        "encoder.onnx": _encoder(head).SerializeToString(),
        "model.onnx": _oracle(weight, bias, head, positions).SerializeToString(),
        "embedding.npz": arrays.getvalue(),
        "vectors.npz": empty.getvalue(),
    }
    return write_bundle(folder, spec, files)


def _model(
    nodes: list, inputs: dict[str, list[int]], constants: dict[str, np.ndarray], positions: type = np.float32
) -> onnx.ModelProto:
    kinds = {"positions": helper.np_dtype_to_tensor_dtype(np.dtype(positions))}
    declared = [
        helper.make_tensor_value_info(name, kinds.get(name, TensorProto.FLOAT), shape) for name, shape in inputs.items()
    ]
    declared.append(helper.make_tensor_value_info("length", TensorProto.INT32, [1]))
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])
    values = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tiny", declared, [logits], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return model


def _mean_and_head() -> list:
    """tokens [1, T, hidden] -> logits: the mean of the rows before `length`, times head."""
    return [
        helper.make_node("Less", ["index", "length"], ["valid"]),
        helper.make_node("Cast", ["valid"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["mask", "tokens"], ["sum"]),
        helper.make_node("Cast", ["length"], ["count"], to=TensorProto.FLOAT),
        helper.make_node("Max", ["count", "one"], ["divisor"]),
        helper.make_node("Div", ["sum", "divisor"], ["mean"]),
        helper.make_node("MatMul", ["mean", "head"], ["row"]),
        helper.make_node("Squeeze", ["row", "axis_one"], ["logits"]),
    ]


def _common(head: np.ndarray) -> dict[str, np.ndarray]:
    return {
        "index": np.arange(TOKENS, dtype=np.int32)[None, None],
        "one": np.ones(1, np.float32),
        "axis_one": np.array([1], np.int64),
        "head": head,
    }


def _encoder(head: np.ndarray) -> onnx.ModelProto:
    return _model(_mean_and_head(), {"tokens": [1, TOKENS, HIDDEN]}, _common(head))


def _oracle(weight: np.ndarray, bias: np.ndarray, head: np.ndarray, positions: type = np.float64) -> onnx.ModelProto:
    """The encoder behind the dense embedding: log(1 + counts) times weight, plus sines and cosines of the positions.

    positions: their dtype; float32, as old bundles have it, cannot tell large times apart.
    """
    xy, t = HIDDEN // 3, HIDDEN // 3 + HIDDEN % 3
    turns: np.ndarray = np.zeros((3, HIDDEN), positions)  # of each angle in one unit of its coordinate
    is_sine = np.zeros(HIDDEN, np.float32)
    start = 0
    for coordinate, size in enumerate((xy, xy, t)):
        rates = [1 / (2 * np.pi * 10000 ** (2 * (i // 2) / size)) for i in range(size)]
        order = rates[0::2] + rates[1::2]
        turns[coordinate, start : start + size] = order
        is_sine[start : start + len(rates[0::2])] = 1
        start += size
    nodes = [
        helper.make_node("Reshape", ["volumes", "flat"], ["cells"]),
        helper.make_node("Add", ["cells", "one"], ["raised"]),
        helper.make_node("Log", ["raised"], ["logs"]),
        helper.make_node("MatMul", ["logs", "weight"], ["linear"]),
        helper.make_node("Add", ["linear", "bias"], ["embedded"]),
        helper.make_node("MatMul", ["positions", "turns"], ["turned"]),
        helper.make_node("Floor", ["turned"], ["whole"]),
        helper.make_node("Sub", ["turned", "whole"], ["part"]),
        helper.make_node("Cast", ["part"], ["part_of_a_turn"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Mul", ["part_of_a_turn", "turn"], ["angles"]),
        helper.make_node("Sin", ["angles"], ["sines"]),
        helper.make_node("Cos", ["angles"], ["cosines"]),
        helper.make_node("Mul", ["sines", "is_sine"], ["sine_part"]),
        helper.make_node("Mul", ["cosines", "is_cosine"], ["cosine_part"]),
        helper.make_node("Add", ["embedded", "sine_part"], ["with_sines"]),
        helper.make_node("Add", ["with_sines", "cosine_part"], ["tokens"]),
        *_mean_and_head(),
    ]
    constants = {
        **_common(head),
        "flat": np.array([1, TOKENS, weight.shape[1]], np.int64),
        "weight": weight.T.copy(),
        "bias": bias,
        "turns": turns,
        "turn": np.array(2 * np.pi, np.float32),
        "is_sine": is_sine,
        "is_cosine": 1 - is_sine,
    }
    inputs = {"volumes": [1, TOKENS, 2, BUCKETS, PATCH, PATCH], "positions": [1, TOKENS, 3]}
    return _model(nodes, inputs, constants, positions)


_SOURCE = """#include "spedge/model.h"
static const float weight[] = {%(weight)s};
static const float bias[] = {%(bias)s};
static const float head[] = {%(head)s}; /* [hidden][classes] */

static int encode(void *arena, uint32_t count)
{
    const float *rows = arena;
    float *logits = (float *)arena + %(rows)d;
    for (int c = 0; c < %(classes)d; c++) {
        double sum = 0;
        for (uint32_t i = 0; i < count; i++) {
            for (int h = 0; h < %(hidden)d; h++) {
                sum += (double)(rows[i * %(hidden)du + (uint32_t)h] * head[h * %(classes)d + c]);
            }
        }
        logits[c] = (float)(sum / (count > 0 ? count : 1u));
    }
    return SP_OK;
}

static const uint32_t shape[] = {%(classes)d};
static const sp_output_t outputs[] = {{"logits", shape, 1, %(classes)d, 4 * %(rows)d}};

const sp_model_t sp_model = {
    .hash = {%(hash)s},
    .name = "%(name)s",
    .tokenizer = {.width = %(width)d, .height = %(height)d, .patch_size = %(patch)d, .threshold = %(threshold)r,
                  .kind = %(kind)d, .duration_us = %(duration)d},
    .embed = {.patch_size = %(patch)d, .hidden = %(hidden)d, .buckets = %(buckets)d, .time_scale_us = %(scale)rf,
              .weight = weight, .bias = bias},
    .tokens = %(tokens)d,
    .task = SP_TASK_CLASSIFICATION,
    .output_count = 1,
    .outputs = outputs,
    .arena_bytes = %(arena)d,
    .encode = encode,
};
"""


def model_source(bundle: Bundle, head_scale: float = 1.0) -> str:
    """model.c of a tiny bundle. head_scale other than 1 makes a model that computes something else."""
    weight, bias = bundle.embedding_arrays()
    graph = onnx.load(str(bundle.file("encoder.onnx"))).graph
    head = next(numpy_helper.to_array(value) for value in graph.initializer if value.name == "head") * head_scale
    return _SOURCE % {
        "weight": _floats(weight.T),
        "bias": _floats(bias),
        "head": _floats(head),
        "hash": ", ".join(str(byte) for byte in bundle.hash_bytes),
        "name": bundle.name,
        "width": bundle.sensor.width,
        "height": bundle.sensor.height,
        "patch": PATCH,
        "threshold": bundle.token_input.tokenizer.threshold,
        "kind": KINDS.index(bundle.token_input.tokenizer.kind),
        "duration": bundle.token_input.tokenizer.duration_us or 0,
        "hidden": HIDDEN,
        "buckets": BUCKETS,
        "scale": bundle.token_input.embedding.time_scale_us,
        "tokens": TOKENS,
        "classes": CLASSES,
        "rows": TOKENS * HIDDEN,
        "arena": 4 * (TOKENS * HIDDEN + -(-CLASSES // 4) * 4),
    }


def _floats(values: np.ndarray) -> str:
    return ", ".join(f"{float(v)!r}f" for v in values.ravel())


def build_firmware(board: str, out: Path, model: str | Path | None = None, extra: Sequence[str] = ()) -> Path:
    """The device application as users get it, or with `extra` flags, linked to as `out`.

    model: the text of a model.c, or the folder that a bundle was compiled to.
    """
    needs("platformio", "cc")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = model if isinstance(model, Path) else None
    if isinstance(model, str):
        folder = out.with_name(f"{out.name}-model")
        folder.mkdir()
        (folder / "model.c").write_text(model)
        (folder / "report.json").write_text("{}")
    with pytest.MonkeyPatch.context() as patch:
        if extra:  # a variable that is set, even to nothing, has everything compiled for itself
            patch.setenv("PLATFORMIO_BUILD_FLAGS", " ".join(extra))
            patch.setenv("PLATFORMIO_BUILD_UNFLAGS", " ".join(_replaced(board, extra)))
        out.symlink_to(build(load_board(board), None, model=folder).path)
    return out


def _replaced(board: str, extra: Sequence[str]) -> list[str]:
    """Definitions of the board's manifest that `extra` has otherwise."""
    own = json.loads(load_board(board).manifest.read_text())["build"].get("extra_flags", "").split()
    names = {flag.partition("=")[0] for flag in extra if flag.startswith("-D")}
    return [flag for flag in own if flag.partition("=")[0] in names]


def missing_for(board: str) -> str | None:
    """Why this machine cannot build and run the board; None when it can."""
    if importlib.util.find_spec("platformio") is None:
        return "platformio is not installed: pip install 'spedge[firmware]'"
    absent = [f"{tool.program} ({', '.join(tool.packages)})" for tool in load_board(board).missing]
    return f"not installed: {'; '.join(absent)}" if absent else None


def require_parts(board: str) -> None:
    """Skip a file where what others wrote for the board's port is not here and cannot be fetched."""
    try:
        provide(load_board(board))
    except BuildError as error:
        pytest.skip(str(error), allow_module_level=True)


def require_compiled(board: str) -> None:
    """Skip where a bundle cannot be compiled and built for the board."""
    needs("platformio", "tvm")
    if missing := missing_for(board):
        pytest.skip(missing)


def firmware_of(board: str, bundle: Bundle, folder: Path, extra: Sequence[str] = ()) -> Path:
    """The board's firmware with a tiny bundle's model, in a file of the board's name; a skip where it cannot be."""
    needs("platformio")
    if missing := missing_for(board):
        pytest.skip(missing)
    return build_firmware(board, folder / board, model_source(bundle), extra)


def live_payload(first: int, offered: int, words: np.ndarray) -> bytes:
    """EVENTS of live mode by hand, as SPEC.md section 4.2 has it."""
    return first.to_bytes(8, "little") + offered.to_bytes(4, "little") + words.astype("<u4").tobytes()


class Slow:
    """A line of so many bytes a second towards the device, which tells what it still holds. stood: the longest time, in
    seconds, that it moved nothing, from its first bytes to its last: that of a machine that had no time for it."""

    def __init__(self, inner: Transport, rate: float) -> None:
        self.inner, self.name, self.rate = inner, inner.name, rate
        self.waiting = b""
        self.since = time.monotonic()
        self.moved: float | None = None
        self.stood = 0.0

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        self.waiting += out
        now = time.monotonic()
        due = min(int((now - self.since) * self.rate), len(self.waiting))
        if due or not self.waiting:
            self.since = now
        if due:
            self.stood = max(self.stood, now - (self.moved or now))
            self.moved = now
        written, received = self.inner.exchange(self.waiting[:due], min(timeout, 0.02))
        self.waiting = self.waiting[written:]
        return len(out), received

    def unsent(self) -> int:
        return len(self.waiting)

    def close(self) -> None:
        self.inner.close()


@dataclass
class Tap:
    """A transport that keeps the words of the live frames that go to the device."""

    inner: Transport
    name: str = field(init=False)
    words: list[np.ndarray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.name = self.inner.name
        self._reader = FrameReader()

    def exchange(self, out: bytes | memoryview, timeout: float) -> tuple[int, bytes]:
        written, received = self.inner.exchange(out, timeout)
        for frame in self._reader.feed(out[:written]):
            if frame.type == Type.EVENTS:
                self.words.append(np.frombuffer(frame.payload[12:], "<u4"))
        return written, received

    def unsent(self) -> int:
        return self.inner.unsent()

    def close(self) -> None:
        self.inner.close()


@dataclass
class Played:
    """The results of events played live, and when those came that came on the way (s)."""

    results: list[Result] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)


def play_live(device: Device, events: np.ndarray, pace: float = 1.0, take: bool = True) -> Played:
    """Offer events when their time has come, `pace` times as fast; take the results that come, unless not `take`."""
    played = Played()
    begin, start = time.monotonic(), int(events["t"][0])
    at = 0
    while at < len(events):
        elapsed = (time.monotonic() - begin) * 1e6 * pace
        end = int(np.searchsorted(events["t"], start + elapsed))
        device.offer(events[at:end])
        at = end
        device.wait(0.002)
        if take:
            played.results += device.take_results()
            played.arrivals += [time.monotonic() - begin] * (len(played.results) - len(played.arrivals))
    device.finish()
    if take:
        played.results += device.take_results()
    return played
