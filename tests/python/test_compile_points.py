"""GNN and PCN classifiers as generated C: on this machine, what ONNX Runtime computes with the host's graphs."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.base.paths import firmware_dir
from spedge.bench.model import bench_model
from spedge.model.bundle import Bundle, write_bundle
from spedge.model.graph import device_words, graph_arrays, graph_inputs
from spedge.model.parts import EventInput
from spedge.model.reference import onnx_session
from tests.graph_bundles import graph_bundle, spec_of
from tests.needs import needs
from tests.python.generated import SANITIZERS, WARNINGS, sources_of

needs("torch", "tvm")

from spedge.compile.driver import compile_bundle, generate  # noqa: E402
from spedge.compile.errors import CompileError  # noqa: E402
from spedge.compile.measure.tune import tune  # noqa: E402
from spedge.compile.supported import supported  # noqa: E402
from spedge.compile.targets import find_target  # noqa: E402

# Cases on stdin: count, points, rows; for each the tables' words and the logits. The arena is full of NaNs before.
DRIVER = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    unsigned char *arena = aligned_alloc(16, sp_model.arena_bytes);
    const sp_graph_plan_t *graph = sp_model.graph;
    uint32_t count;
    if (arena == NULL || sp_graph_plan_work(graph) > graph->work_bytes) {
        return 2;
    }
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        memset(arena, 0xff, sp_model.arena_bytes);
        void *points = arena + graph->tables[0].points_offset;
        const size_t rows = (size_t)count * sp_model.embed.hidden;
        if (fread(points, 3 * sizeof(double), count, stdin) != count
            || fread(arena + sp_model.input_offset, sizeof(float), rows, stdin) != rows) {
            return 3;
        }
        if (sp_graph_build(graph, arena, count) != SP_OK || sp_model.encode(arena, count) != SP_OK) {
            return 4;
        }
        fwrite(arena + graph->words_offset, 4, sp_graph_plan_words(graph), stdout);
        fwrite(sp_model_output(arena, &sp_model.outputs[0]), sizeof(float), sp_model.outputs[0].size, stdout);
    }
    free(arena);
    return 0;
}
"""


def built(folder: Path, flags: tuple[str, ...] = SANITIZERS, compiler: str = "cc") -> Path:
    """The program that runs a generated folder's model."""
    (folder.parent / "driver.c").write_text(DRIVER)
    includes = [f"-I{firmware_dir() / part / 'include'}" for part in ("lib", "runtime")]
    library = [firmware_dir() / "lib" / "src" / name for name in ("graph.c", "graph_plan.c")]
    options = [compiler, "-std=c11", "-O1", *WARNINGS, "-fno-math-errno", "-ffp-contract=off", *flags]
    sources = [*sources_of(folder, options), *map(str, library), str(folder.parent / "driver.c")]
    program = folder.parent / f"{folder.name}-driver"
    command = [*options, *includes, f"-I{folder}", *sources, "-lm", "-o", str(program)]
    subprocess.run(command, check=True, timeout=300)
    return program


def sample(count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Points in order of time, many of them in one place, and rows."""
    random = np.random.default_rng(seed)
    points = np.sort(random.uniform(0, 1 + count / 5, (count, 3)), axis=0)
    points[:, :2] = random.integers(0, 8, (count, 2))
    return points, random.normal(0, 1.5, (count, 6)).astype(np.float32)


def compared(bundle: Bundle, command: list[str]) -> None:
    """The program's tables are the host's, its logits ONNX Runtime's, from none to all tokens."""
    window, config = bundle.tokens, bundle.encoder
    session = onnx_session(bundle.file("encoder.onnx"))
    counts = (0, 1, 2, 7, window - 1, window, window)
    cases = [sample(count, seed) for seed, count in enumerate(counts)]
    stdin = b"".join(np.uint32(len(p)).tobytes() + p.tobytes() + rows.tobytes() for p, rows in cases)
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    words = device_words(config, window)
    answers = np.frombuffer(done.stdout, np.uint32).reshape(len(cases), words.size + len(bundle.labels))
    for (points, rows), answer in zip(cases, answers, strict=True):
        graph = graph_arrays(points, config)
        assert words.difference(graph, answer[: words.size]) is None
        tokens = np.zeros((1, window, 6), np.float32)
        tokens[0, : len(rows)] = rows
        (expected,) = session.run(["logits"], {"tokens": tokens, **graph_inputs(graph, config, window)})
        assert np.abs(answer[words.size :].view(np.float32) - expected[0]).max() < 1e-4


@pytest.mark.parametrize(
    ("kind", "rule", "target"),
    [
        ("gnn", "nearest", "native"),
        ("gnn", "lowest", "cortex-m7"),
        ("pcn", "nearest", "cortex-m7"),
        ("pcn", "lowest", "rv32"),
    ],
)
def test_the_c_computes_what_the_bundle_does(kind: str, rule: str, target: str, tmp_path: Path) -> None:
    """Whichever tiles a target's kernels have; nothing outside the arena is touched."""
    bundle = graph_bundle(spec_of(kind, rule))
    compile_bundle(bundle, target, tmp_path / "model")
    compared(bundle, [str(built(tmp_path / "model"))])


def changed(bundle: Bundle, folder: Path, change: Callable[[onnx.GraphProto], None]) -> Bundle:
    """The bundle with another encoder.onnx."""
    model = onnx.load(str(bundle.file("encoder.onnx")))
    change(model.graph)
    files = {path.name: path.read_bytes() for path in bundle.path.iterdir() if path.name != "bundle.json"}
    return write_bundle(folder, bundle.plain(), {**files, "encoder.onnx": model.SerializeToString()})


def with_other_activation(graph: onnx.GraphProto) -> None:
    node = next(node for node in graph.node if node.op_type == "Elu")
    node.op_type = "Relu"
    del node.attribute[:]


def with_other_knots(graph: onnx.GraphProto) -> None:
    """Edges that reach two thirds as far into the spline's kernel."""
    name = next(node for node in graph.node if node.op_type == "Mul").input[1]
    constant = next(tensor for tensor in graph.initializer if tensor.name == name)
    assert onnx.numpy_helper.to_array(constant) == 3
    constant.CopyFrom(onnx.numpy_helper.from_array(np.array(2, np.float32), name))


def with_one_layer_less(graph: onnx.GraphProto) -> None:
    """A weight that is no constant any more."""
    node = [node for node in graph.node if node.op_type == "MatMul"][1]
    copy = onnx.helper.make_node("Mul", [node.input[1], graph.node[-1].input[0]], ["copied"])
    del copy.input[1]
    copy.op_type = "Neg"
    graph.node.insert(0, copy)
    graph.node.insert(1, onnx.helper.make_node("Add", ["copied", "squeeze_8"], ["variable"]))
    graph.node.insert(1, onnx.helper.make_node("Cast", ["kept"], ["squeeze_9"], to=onnx.TensorProto.FLOAT))
    graph.node[2].input[1] = "squeeze_9"
    node.input[1] = "variable"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (with_other_activation, "encoder.onnx has products with 384x5, 320x5"),
        (with_other_knots, "does not compute what a gnn of the bundle's description computes"),
        (with_one_layer_less, "encoder.onnx has products with 320x5, 320x5"),
    ],
)
def test_another_encoder_is_refused(change: Callable[[onnx.GraphProto], None], said: str, tmp_path: Path) -> None:
    bundle = changed(graph_bundle(spec_of("gnn")), tmp_path / "bundle", change)
    with pytest.raises(CompileError, match=re.escape(said)):
        compile_bundle(bundle, "native", tmp_path / "model")


def test_what_there_is_not_is_said(tmp_path: Path) -> None:
    bundle = graph_bundle(spec_of("pcn"))
    with pytest.raises(CompileError, match="a pcn is compiled in fp32, not in int8"):
        compile_bundle(bundle, "native", tmp_path / "model", precision="int8")
    with pytest.raises(CompileError, match="there is no report by kernel of a pcn"):
        generate(bundle, find_target("native"), lambda _: None, probes=True)
    machine: Any = SimpleNamespace(name="machine", target="native")
    for measured in (lambda: tune(bundle, "native", machine), lambda: bench_model(bundle, "sim")):
        with pytest.raises(InputError, match="by a transformer on tokens, and the model 'tiny-pcn'"):
            measured()
    on_events = replace(bundle.plain(), representation=EventInput(50, features=6))
    with pytest.raises(InputError, match="takes classification by a transformer, a gnn or a pcn on tokens"):
        supported(on_events)


def test_the_folder_stands_alone(tmp_path: Path) -> None:
    """Its example makes the graphs of made-up points with the sources that come with it."""
    bundle = graph_bundle(spec_of("gnn"))
    compile_bundle(bundle, "native", tmp_path / "model")
    text = (tmp_path / "model/example/main.c").read_text()
    (command,) = re.findall(r"^ \* (cc .*example-model)", text, re.M)
    subprocess.run(command, shell=True, cwd=tmp_path / "model", check=True, timeout=300)
    done = subprocess.run(["./example-model"], cwd=tmp_path / "model", check=True, capture_output=True, text=True)
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(bundle.labels)
