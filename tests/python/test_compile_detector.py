"""Detectors in C: the steps of a compiled one are those of its encoder.onnx, state and all."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.compile import CompileError, compile_bundle
from spedge.compile.grid.cut import cut
from spedge.compile.grid.detector import detector_program
from spedge.compile.grid.lift import lift
from spedge.compile.supported import supported
from spedge.compile.targets import find_target
from spedge.model.bundle import Bundle
from spedge.model.parts import Detector, Gnn, Sensor, Transformer
from spedge.model.reference import onnx_session
from spedge.model.spec import ModelSpec, describe
from spedge.training.presets import preset
from tests.detector_bundles import kept_bundle, tiny
from tests.needs import needs

from .generated import SANITIZERS, WARNINGS, sources_of

needs("tvm", "cc", "torch")

TOLERANCE = 1e-5
FORGET = 0xFFFFFFFF

# Steps from standard input: a count, rows and cells; or FORGET, and all of them are forgotten. To standard output: head
# and state of each. The arena holds no number at first, and between the steps nothing but what a device leaves there.
DRIVER = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put(const unsigned char *arena, uint32_t offset, size_t n)
{
    fwrite(arena + offset, sizeof(float), n, stdout);
}

int main(void)
{
    unsigned char *const arena = aligned_alloc(16, sp_model.arena_bytes), *const scratch = malloc(sp_model.arena_bytes);
    const sp_detection_t *of = sp_model.detection;
    const size_t state = (size_t)of->rows * of->columns * of->hidden, bytes = state * sizeof(float);
    uint32_t count;
    int code = sp_model.arena_bytes == SP_MODEL_ARENA_BYTES ? 0 : 2;
    memset(arena, 0xff, sp_model.arena_bytes);
    sp_model.reset(arena);
    while (code == 0 && fread(&count, sizeof count, 1, stdin) == 1) {
        if (count == 0xffffffffu) {
            sp_model.reset(arena);
            continue;
        }
        memcpy(scratch, arena + of->hidden_offset, bytes);
        memcpy(scratch + bytes, arena + of->cell_offset, bytes);
        memset(arena, 0xff, sp_model.arena_bytes);
        memcpy(arena + of->hidden_offset, scratch, bytes);
        memcpy(arena + of->cell_offset, scratch + bytes, bytes);
        if (fread(arena + sp_model.input_offset, SP_MODEL_HIDDEN * sizeof(float), count, stdin) != count
            || fread(arena + sp_model.cells_offset, sizeof(uint16_t), count, stdin) != count
            || sp_model.encode(arena, count) != SP_OK) {
            code = 3;
        }
        put(arena, sp_model.outputs[0].offset, sp_model.outputs[0].size);
        put(arena, of->hidden_offset, state);
        put(arena, of->cell_offset, state);
    }
    code = code ? code : sp_model.encode(arena, SP_MODEL_TOKENS + 1) == SP_ERR_CAPACITY ? 0 : 4;
    free(arena);
    free(scratch);
    return code;
}
"""

Step = tuple[NDArray[Any], NDArray[Any]]  # rows [n, features], cells [n]; no features: forget


def cropped() -> ModelSpec:
    """Widths that no tile divides, and a grid of 3x5 cells that is cropped, as the authors do."""
    return tiny(Transformer(14, 20, 2, 1), 3, 10, 6, 9, sensor=Sensor(80, 48), odd_grid="crop")


def narrow(name: str) -> ModelSpec:
    """A preset of the paper's, all widths apart: of tokens as it has them, and a grid that is padded."""
    whole = preset(name).spec()
    assert isinstance(whole.model, Detector)
    tokens = whole.token_input
    seen = replace(tokens, window=48, embedding=replace(tokens.embedding, hidden=24))
    model = replace(whole.model, encoder=Transformer(24, 48, 4, 2), hidden=12, head=12)
    return describe(name, name, whole.sensor, whole.labels, seen, model)


def sequence(bundle: Bundle, counts: Sequence[int], seed: int = 0) -> list[Step | None]:
    """Random steps of so many tokens; -1: None, all before is forgotten."""
    random = np.random.default_rng(seed)
    features, cells = bundle.token_input.features, int(np.prod(bundle.state[0].shape[:2]))
    made: list[Step | None] = []
    for n in counts:
        rows = random.normal(0, 1, (max(n, 0), features)).astype(np.float32)
        made.append(None if n < 0 else (rows, random.integers(0, cells, n).astype(np.uint16)))
    return made


def run_compiled(program: Path, steps: Sequence[Step | None]) -> bytes:
    data = b""
    for step in steps:
        count = FORGET if step is None else len(step[0])
        data += np.uint32(count).tobytes() + (b"" if step is None else step[0].tobytes() + step[1].tobytes())
    done = subprocess.run([str(program)], input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def run_reference(bundle: Bundle, steps: Sequence[Step | None]) -> NDArray[np.float32]:
    """Head and state after each step: float32 [steps, numbers]."""
    session = onnx_session(bundle.file("encoder.onnx"))
    tokens = bundle.tokens
    zeros = {s.input: np.zeros(s.shape, np.float32) for s in bundle.state}
    state, found = zeros, []
    for step in steps:
        if step is None:
            state = zeros
            continue
        rows, cells = step
        feeds = {
            "tokens": np.pad(rows, ((0, tokens - len(rows)), (0, 0)))[None],
            "length": np.array([len(rows)], np.int32),
            "cells": np.pad(cells, (0, tokens - len(cells))).astype(np.int32)[None],
        }
        head, *after = session.run(["head", *(s.output for s in bundle.state)], feeds | state)
        state = {s.input: value for s, value in zip(bundle.state, after, strict=True)}
        found.append(np.concatenate([head.ravel(), *(value.ravel() for value in after)]))
    return np.stack(found)


def build(folder: Path, flags: Sequence[str]) -> Path:
    """The folder's C with the driver, for this machine."""
    (folder / "driver.c").write_text(DRIVER)
    options = ["cc", "-std=c11", "-pedantic", *WARNINGS, *flags]
    sources = [str(folder / "driver.c"), *sources_of(folder, options)]
    include = [f"-I{folder}", f"-I{folder / 'include'}"]
    command = [*options, *include, *sources, "-lm", "-o", str(folder / "driver")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "driver"


@pytest.mark.parametrize(
    ("target", "grid"),
    [
        ("native", "G1-T-SP"),
        *(pytest.param(*case, marks=pytest.mark.long) for case in (("cortex-m7", "crop"), ("rv32", "wide"))),
    ],
)
def test_steps_are_those_of_the_graph_and_a_reset_forgets_them(target: str, grid: str, tmp_path: Path) -> None:
    if grid == "wide":
        bundle = kept_bundle(tiny(sensor=Sensor(96, 64), cell=2, hidden=8, head=8))
    elif grid == "crop":
        bundle = kept_bundle(cropped())
    else:
        bundle = kept_bundle(narrow(grid))
    report = compile_bundle(bundle, target, tmp_path / "model")
    assert report.outputs == {"head": bundle.outputs[0].shape}
    program = build(tmp_path / "model", ["-O1", *SANITIZERS])
    most = bundle.tokens
    steps = sequence(bundle, [most, 0, 1, -1, 0, most // 2, 3, most, -1, most])
    got, wanted = np.frombuffer(run_compiled(program, steps), np.float32), run_reference(bundle, steps)
    assert np.ptp(wanted[:, : bundle.outputs[0].size], axis=0).max() > 0.01  # it sees something
    np.testing.assert_allclose(got.reshape(wanted.shape), wanted, atol=TOLERANCE, rtol=0)


def test_lines_are_kept_as_long_as_they_are_read_and_no_longer() -> None:
    """nmnist-det-pico fits a microcontroller, because no field of its finest level is there whole."""
    whole = detector_program(kept_bundle(preset("nmnist-det-pico").spec()), find_target("cortex-m7"))
    assert whole.layout.arena_bytes <= 416 * 1024
    finest = max(t.field.rows for t in whole.graph.head)
    rings = [
        room.ring
        for field, room in whole.layout.rooms.items()
        if room.name.startswith("line_") and field.rows == finest
    ]
    assert len(rings) > 10 and max(rings) <= 5


def changed(bundle: Bundle, change: str) -> onnx.ModelProto:
    """encoder.onnx with something else in it."""
    model = onnx.load(bundle.file("encoder.onnx"))
    for node in model.graph.node:
        if change == "sums" and node.op_type == "ScatterElements":
            next(a for a in node.attribute if a.name == "reduction").s = b"add"
        if change == "groups" and node.op_type == "Conv":
            node.attribute.append(onnx.helper.make_attribute("auto_pad", "SAME_UPPER"))
        if change == "operator" and node.op_type == "Sigmoid":
            node.op_type = "Softplus"
    if change == "inputs":
        model.graph.input[0].name = "rows"
        for node in model.graph.node:
            node.input[:] = ["rows" if i == "tokens" else i for i in node.input]
    return model


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("sums", "is not the largest of each cell's tokens"),
        ("groups", "unsupported ONNX operator: Conv node"),
        ("operator", "unsupported ONNX operator on the grid: Softplus node"),
        ("inputs", "the detector's inputs are"),
    ],
)
def test_what_cannot_be_compiled_is_named(change: str, said: str) -> None:
    bundle = kept_bundle(cropped())
    with pytest.raises(CompileError, match=said):
        lift(cut(changed(bundle, change)))


def test_detectors_of_other_kinds_are_refused_with_what_to_do(tmp_path: Path) -> None:
    bundle = kept_bundle(cropped())
    with pytest.raises(CompileError, match="a detector is compiled in fp32, not in int8"):
        compile_bundle(bundle, "native", tmp_path / "model", precision="int8")
    with pytest.raises(InputError, match=r"around a gnn, .* runs by 'spedge check --board host' alone"):
        supported(tiny(Gnn(3.0, 4.0, 0.5, (8, 8, 8), 4), sensor=Sensor(80, 48)))
