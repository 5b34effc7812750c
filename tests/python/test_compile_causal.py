"""Stateful models: generated C, token by token, against ONNX Runtime's batch graph; and on the simulated board."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from spedge.base.paths import firmware_dir
from spedge.compile import TARGETS, CompileError, compile_bundle
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.events.arrays import EVENT_DTYPE
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from tests.needs import needs
from tests.variants import quick_of

from .generated import SANITIZERS, WARNINGS, build_host, random_cases, run_host, run_reference, sources_of

needs("tvm", "cc")

TOLERANCE = 1e-5
SMALL = Shape(causal=True, tokens=10)
WIDE = Shape(causal=True, tokens=4, hidden=256, intermediate=4096, heads=2, layers=1)

# Takes in the rows on stdin and writes the logits after each; at the end those without a token, then after a reset.
DRIVER = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    unsigned char *arena = aligned_alloc(16, sp_model.arena_bytes);
    const float *const logits = sp_model_output(arena, &sp_model.outputs[0]);
    const size_t bytes = SP_MODEL_CLASSES * sizeof *logits;
    float row[SP_MODEL_HIDDEN];
    const char *const threads = getenv("STEPS_THREADS");
    if (threads != NULL && (sp_model.use == NULL || sp_model.use((uint32_t)atoi(threads), NULL) != SP_OK)) {
        return 2;
    }
    memset(arena, 0xff, sp_model.arena_bytes);
    sp_model.reset(arena);
    for (int i = 0; fread(row, sizeof row, 1, stdin) == 1; ++i) {
        if (sp_model.step(arena, row) != SP_OK || sp_model.read(arena) != SP_OK) {
            return 1;
        }
        if (i % 3 == 1) { /* reading twice is reading once */
            sp_model.read(arena);
        }
        fwrite(logits, bytes, 1, stdout);
    }
    sp_model.read(arena);
    fwrite(logits, bytes, 1, stdout);
    sp_model.reset(arena);
    sp_model.read(arena);
    fwrite(logits, bytes, 1, stdout);
    free(arena);
    return 0;
}
"""


def bundle_of(folder: Path, shape: Shape) -> Bundle:
    bundle: Bundle = make_bundle(folder / "bundle", make_encoder(shape), shape)
    return bundle


def run_steps(folder: Path, rows: np.ndarray, classes: int) -> np.ndarray:
    """Logits after each row, then without a row, then after a reset: float32 [rows + 2, classes]."""
    return steps_of(build_steps(folder), rows, classes)


def build_steps(folder: Path) -> Path:
    (folder.parent / "steps.c").write_text(DRIVER)
    program = folder.parent / "steps"
    includes = [f"-I{firmware_dir() / part / 'include'}" for part in ("lib", "runtime")]
    options = ["cc", "-std=c11", *WARNINGS, "-O1", *SANITIZERS, "-fno-math-errno", "-ffp-contract=off"]
    sources = [*sources_of(folder, options), str(folder.parent / "steps.c")]
    command = [*options, *includes, f"-I{folder}", *sources, "-lm", "-o", str(program)]
    subprocess.run(command, check=True, timeout=300)
    return program


def steps_of(program: Path, rows: np.ndarray, classes: int) -> np.ndarray:
    done = subprocess.run([str(program)], input=rows.tobytes(), capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.float32).reshape(len(rows) + 2, classes)


#: The others compile the same kernels as one of these.
QUICK = {"native", "cortex-m7", "rv32"}


@pytest.mark.parametrize("target", quick_of(sorted(TARGETS), QUICK))
def test_every_step_equals_the_batch_graph(tmp_path: Path, target: str) -> None:
    """Past T tokens too: there a new window begins."""
    bundle = bundle_of(tmp_path, SMALL)
    compile_bundle(bundle, target, tmp_path / "model")
    rows = random_cases(bundle, [2 * SMALL.tokens + 3])[0]
    windows = [rows[i // SMALL.tokens * SMALL.tokens : i + 1] for i in range(len(rows))]
    wanted = run_reference(bundle, [*windows, windows[-1], rows[:0]])
    got = run_steps(tmp_path / "model", rows, SMALL.classes)
    assert np.abs(wanted[:-1]).max() > 0.1
    assert np.abs(got - wanted).max() <= TOLERANCE
    assert [bundle.window_tokens(i) for i in (0, 1, 10, 11, 20, 23)] == [0, 1, 10, 1, 10, 3]


@pytest.mark.long
def test_a_step_on_two_threads_is_that_on_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Products of the one row are large enough to be shared."""
    bundle = bundle_of(tmp_path, WIDE)
    compile_bundle(bundle, "native", tmp_path / "model")
    rows = random_cases(bundle, [WIDE.tokens + 2])[0]
    program, found = build_steps(tmp_path / "model"), []
    for threads in (1, 2):
        monkeypatch.setenv("STEPS_THREADS", str(threads))
        found.append(steps_of(program, rows, WIDE.classes))
    assert np.array_equal(found[0], found[1])
    windows = [rows[i // WIDE.tokens * WIDE.tokens : i + 1] for i in range(len(rows))]
    np.testing.assert_allclose(found[1][:-1], run_reference(bundle, [*windows, windows[-1]]), atol=1e-4)


def test_encode_takes_a_whole_window(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path, SMALL)
    compile_bundle(bundle, "native", tmp_path / "model")
    cases = random_cases(bundle, range(SMALL.tokens + 1))
    got = run_host(build_host(tmp_path / "model", ["-O1", *SANITIZERS]), cases, SMALL.classes)
    assert np.abs(got - run_reference(bundle, cases)).max() <= TOLERANCE


@settings(
    max_examples=5,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    derandomize=True,
    phases=[Phase.generate],
)
@given(
    shape=st.builds(
        Shape,
        causal=st.just(True),
        mapped=st.booleans(),
        tokens=st.integers(1, 19),
        hidden=st.sampled_from([6, 12, 18]),
        intermediate=st.integers(1, 27),
        heads=st.sampled_from([1, 2, 3]),
        layers=st.integers(0, 3),
        classes=st.integers(1, 11),
        norm=st.sampled_from(["pre", "post"]),
        qkv=st.sampled_from(["split", "separate", "slice", "gather"]),
        activation=st.sampled_from(["gelu", "gelu-op", "relu", "silu"]),
        bias=st.booleans(),
        final_norm=st.booleans(),
    ),
    target=st.sampled_from(sorted(TARGETS)),
)
def test_any_shape(tmp_path_factory: pytest.TempPathFactory, shape: Shape, target: str) -> None:
    folder = tmp_path_factory.mktemp("causal")
    bundle = bundle_of(folder, shape)
    compile_bundle(bundle, target, folder / "model")
    cases = random_cases(bundle, range(shape.tokens + 1))
    wanted = run_reference(bundle, cases)
    got = run_host(build_host(folder / "model", ["-O0"]), cases, shape.classes)
    assert np.abs(got - wanted).max() <= TOLERANCE * max(1.0, float(np.abs(wanted).max()))


@pytest.mark.parametrize("target", ["native", "cortex-m7"])
@pytest.mark.parametrize("precision", ["int8w", "int8"])
def test_reduced_precision_equals_the_quantised_graph(tmp_path: Path, target: str, precision: str) -> None:
    """Token by token, against ONNX Runtime on all tokens at once; and the rounding costs little."""
    shape = replace(SMALL, hidden=32, intermediate=64)
    bundle = make_bundle(tmp_path / "bundle", make_encoder(shape), shape, samples=4)
    compile_bundle(bundle, target, tmp_path / "model", precision=precision)
    rows = random_cases(bundle, [shape.tokens + 4], 1.0)[0]
    windows = [rows[i // shape.tokens * shape.tokens : i + 1] for i in range(len(rows))]
    got = run_steps(tmp_path / "model", rows, shape.classes)
    reference = Reference(bundle, tmp_path / "model" / "reference.onnx")
    wanted = np.stack([reference.encode(w) for w in [*windows, windows[-1], rows[:0]]])
    errors = np.abs(got - wanted).max(axis=1)
    assert errors.max() <= (TOLERANCE if precision == "int8w" else 0.03) and np.median(errors) <= TOLERANCE
    full = run_reference(bundle, [*windows, windows[-1], rows[:0]])
    assert 1e-5 < np.abs(got - full).max() < 0.1 * np.abs(full).max()


def test_a_bundle_that_says_otherwise_is_refused(tmp_path: Path) -> None:
    full = make_bundle(tmp_path / "full", make_encoder(SMALL), replace(SMALL, causal=False))
    with pytest.raises(CompileError, match=r"says 'full' attention, but encoder\.onnx is causal"):
        compile_bundle(full, "native", tmp_path / "model")
    causal = make_bundle(tmp_path / "causal", make_encoder(replace(SMALL, causal=False)), SMALL)
    with pytest.raises(CompileError, match=r"says 'causal' attention, but encoder\.onnx is not causal"):
        compile_bundle(causal, "native", tmp_path / "model")


def test_the_simulated_board_computes_what_the_host_does(tmp_path: Path) -> None:
    """More tokens than a window holds, through the link; the same again after a reset."""
    needs("torch", "platformio")
    import torch

    from spedge.boards.build import build
    from spedge.boards.manifest import load_board
    from spedge.device.open import open_board
    from spedge.jobs.check import check
    from spedge.training.export.bundle import export_model
    from spedge.training.models.registry import make_model
    from spedge.training.presets import PRESETS

    spec = PRESETS["nmnist-pico"].with_attention("causal").with_tokens(12).spec("causal")
    torch.manual_seed(1)
    model = make_model(spec)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    recordings = [record(tmp_path / f"{n}.npz", n) for n in (950, 2500, 4000)]
    bundle = export_model(model, spec, [], tmp_path / "bundle")
    board = load_board("sim")
    with open_board(board, build(board, bundle).path) as device:
        report = check(bundle, recordings, device)
    assert report.passed, [r.problem for r in report.recordings]
    tokens = [r.tokens_device for r in report.recordings]
    assert 0 < tokens[0] < 12 < tokens[1] < tokens[2], tokens


def record(path: Path, count: int) -> Path:
    random = np.random.default_rng(count)
    events = np.zeros(count, EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, 300_000, count))
    events["x"], events["y"] = random.integers(0, 18, count), random.integers(0, 18, count)
    events["p"] = random.integers(0, 2, count)
    np.savez(path, t=events["t"], x=events["x"], y=events["y"], p=events["p"], width=34, height=34)
    return path
