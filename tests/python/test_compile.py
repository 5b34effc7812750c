"""Generated C against ONNX Runtime: values at every count, memory, symbols, files, errors."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from spedge.base.errors import InputError, UsageError
from spedge.base.outputs import Output
from spedge.compile import TARGETS, CompileError, compile_bundle
from spedge.compile.driver import import_encoder
from spedge.compile.measure.footprint import footprint
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder, make_model
from spedge.compile.plan.arena import plan
from spedge.compile.plan.lowering import lower
from spedge.model.bundle import FILES, Bundle, write_bundle
from spedge.model.reference import Reference
from tests.needs import needs
from tests.variants import quick_of

from .generated import SANITIZERS, build_host, random_cases, run_host, run_reference

needs("tvm", "cc")

PICO = Shape(tokens=128, hidden=64, intermediate=128, heads=4, layers=2, classes=10)
SMALL = Shape()
OF_LINUX = {
    *("clock_gettime", "clock_nanosleep", "getauxval", "strcmp", "pthread_cond_broadcast", "pthread_cond_wait"),
    *("pthread_create", "pthread_detach", "pthread_mutex_lock", "pthread_mutex_unlock"),
    *("sched_getcpu", "sched_getaffinity", "pthread_setaffinity_np", "__sched_cpucount"),  # where workers wake
}
TOLERANCE = 1e-5
SCHEDULES = ("cortex-m4", "cortex-m7", "native")  # the others generate the same C as one of these


@pytest.fixture(scope="module")
def pico(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle: Bundle = make_bundle(tmp_path_factory.mktemp("pico") / "bundle", make_encoder(PICO), PICO, "pico")
    return bundle


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    bundle: Bundle = make_bundle(tmp_path_factory.mktemp("small") / "bundle", make_encoder(SMALL), SMALL, "small")
    return bundle


@pytest.mark.parametrize("target", SCHEDULES)
def test_logits_equal_onnx_runtime_at_every_count(pico: Bundle, target: str, tmp_path: Path) -> None:
    compile_bundle(pico, target, tmp_path / "model")
    program = build_host(tmp_path / "model", ["-O3"] if target == "native" else ["-O1"])
    cases = random_cases(pico, range(pico.tokens + 1))
    got, wanted = run_host(program, cases, PICO.classes), run_reference(pico, cases)
    assert np.abs(wanted).max() > 0.1
    assert np.abs(got - wanted).max() <= TOLERANCE


def bundles_kept() -> list[Path]:
    assets = Path(__file__).resolve().parents[2] / "host/spedge/assets"
    return sorted(p.parent for p in assets.glob("**/bundle.json"))


@pytest.mark.parametrize("path", bundles_kept(), ids=lambda p: p.name)
def test_bundles_of_the_project_give_their_own_logits(path: Path, tmp_path: Path) -> None:
    bundle = Bundle.load(path)
    report = compile_bundle(bundle, "native", tmp_path / "model")
    assert report.bundle_hash == bundle.hash
    vectors = bundle.vectors()
    assert vectors
    got = run_host(build_host(tmp_path / "model"), [v.embedded for v in vectors], len(bundle.labels))
    assert np.abs(got - np.stack([v.logits for v in vectors])).max() <= TOLERANCE


SHAPES = st.builds(
    Shape,
    tokens=st.integers(1, 21),
    hidden=st.sampled_from([6, 12, 18, 24]),
    intermediate=st.integers(1, 27),
    heads=st.sampled_from([1, 2, 3, 6]),
    layers=st.integers(0, 3),
    classes=st.integers(1, 13),
    prefix=st.integers(1, 3),
    norm=st.sampled_from(["pre", "post"]),
    mask=st.sampled_from(["add", "where", "keep"]),
    qkv=st.sampled_from(["split", "separate", "slice", "gather"]),
    activation=st.sampled_from(["gelu", "gelu-op", "relu", "tanh", "silu"]),
    bias=st.booleans(),
    final_norm=st.booleans(),
    tokens_first=st.booleans(),
    seed=st.integers(0, 1 << 20),
)


@settings(max_examples=14, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(shape=SHAPES, target=st.sampled_from(sorted(TARGETS)))
def test_any_shape_and_spelling(tmp_path_factory: pytest.TempPathFactory, shape: Shape, target: str) -> None:
    folder = tmp_path_factory.mktemp("shape")
    bundle = make_bundle(folder / "bundle", make_encoder(shape), shape)
    compile_bundle(bundle, target, folder / "model")
    cases = random_cases(bundle, range(shape.tokens + 1))
    got = run_host(build_host(folder / "model", ["-O0"]), cases, shape.classes)
    wanted = run_reference(bundle, cases)
    assert np.abs(got - wanted).max() <= TOLERANCE * max(1.0, float(np.abs(wanted).max()))


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(shape=SHAPES, target=st.sampled_from(sorted(TARGETS)))
def test_no_two_values_in_use_share_memory(tmp_path_factory: pytest.TempPathFactory, shape: Shape, target: str) -> None:
    bundle = make_bundle(tmp_path_factory.mktemp("plan") / "bundle", make_encoder(shape), shape)
    program = lower(import_encoder(bundle, lambda _: None), TARGETS[target])
    offsets, size = plan(program)
    for a in program.buffers:
        assert offsets[a] >= 0 and offsets[a] % 4 == 0 and offsets[a] + a.floats <= size
        for b in program.buffers:
            apart = a.last < b.first or b.last < a.first
            if a.root is not b.root and not apart:
                assert offsets[a] + a.floats <= offsets[b] or offsets[b] + b.floats <= offsets[a], (a, b)


#: Kernels for all vector units of Linux, with sanitizers, are test_rows.py's.
@pytest.mark.parametrize("target", quick_of(SCHEDULES, {"cortex-m4", "cortex-m7"}))
def test_memory_is_not_left_under_sanitizers(small: Bundle, target: str, tmp_path: Path) -> None:
    """The arena has exactly its size there, and every constant its own; elsewhere guards stand around the arena."""
    compile_bundle(small, target, tmp_path / "model")
    program = build_host(tmp_path / "model", ["-O0", *SANITIZERS])
    cases = random_cases(small, range(small.tokens + 1))
    got = run_host(program, cases, SMALL.classes)
    assert np.abs(got - run_reference(small, cases)).max() <= TOLERANCE


@pytest.mark.parametrize("target", sorted(set(TARGETS) - {"native"}))
def test_every_target_compiles_with_its_own_compiler(small: Bundle, target: str, tmp_path: Path) -> None:
    if shutil.which(TARGETS[target].compiler) is None:
        pytest.skip(f"not installed: {TARGETS[target].compiler}")
    compile_bundle(small, target, tmp_path / "model")
    taken = footprint(tmp_path / "model", TARGETS[target])
    report = json.loads((tmp_path / "model/report.json").read_text())
    linux = TARGETS[target].vectors  # with kernels for each kind of vector instructions, and threads
    assert taken.constant_bytes >= report["flash_bytes"] and 1000 < taken.code_bytes < (80_000 if linux else 60_000)
    # of Linux the largest frames of all kinds of vectors are told, one below the other: sums of bytes are kept in them
    assert 0 < taken.stack_bytes < (4500 if linux else 2000)
    calls = {c for c in taken.library_calls if not c.startswith("__aarch64_")}  # atomics, by libgcc
    if TARGETS[target].integers:  # what is left of floats, by libgcc
        calls = {c for c in calls if not c.startswith(("__aeabi_", "__clz"))} - {"sqrtf"}
    assert calls <= {"memcpy", "memset", *(OF_LINUX if linux else ())}


def test_aarch64_equals_onnx_runtime(small: Bundle, tmp_path: Path) -> None:
    compiler = TARGETS["aarch64"].compiler
    missing = [tool for tool in (compiler, "qemu-aarch64") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    compile_bundle(small, "aarch64", tmp_path / "model")
    program = build_host(tmp_path / "model", ["-O3", "-static"], compiler)
    wrapper = tmp_path / "run"
    wrapper.write_text(f"#!/bin/sh\nexec qemu-aarch64 {program}\n")
    wrapper.chmod(0o755)
    cases = random_cases(small, range(small.tokens + 1))
    got = run_host(wrapper, cases, SMALL.classes)
    assert np.abs(got - run_reference(small, cases)).max() <= TOLERANCE


def test_too_many_tokens_are_refused(small: Bundle, tmp_path: Path) -> None:
    compile_bundle(small, "native", tmp_path / "model")
    program = build_host(tmp_path / "model")
    done = subprocess.run([str(program)], input=np.uint32(small.tokens + 1).tobytes(), check=False)
    assert done.returncode == 4


def test_no_allocation_no_runtime_no_mutable_data(small: Bundle, tmp_path: Path) -> None:
    compile_bundle(small, "native", tmp_path / "model")
    build_host(tmp_path / "model")
    for name in ("model", "kernels", "weights"):
        object_file = tmp_path / f"{name}.o"
        firmware = Path(__file__).resolve().parents[2] / "firmware"
        includes = [f"-I{firmware / part / 'include'}" for part in ("lib", "runtime")] + [f"-I{tmp_path / 'model'}"]
        source = str(tmp_path / "model" / f"{name}.c")
        subprocess.run(
            ["cc", "-std=c99", "-O2", "-fno-pic", *includes, "-c", source, "-o", str(object_file)], check=True
        )
        symbols = subprocess.run(["nm", str(object_file)], capture_output=True, text=True, check=True).stdout
        kinds = {line.split()[-1]: line.split()[-2] for line in symbols.splitlines()}
        undefined = {s for s, kind in kinds.items() if kind == "U" and not s.startswith("sp_")}
        assert undefined <= {"memcpy", "memset", "sqrtf"}, undefined
        assert not {s for s, kind in kinds.items() if kind in "DdBbC"}
    text = "".join(p.read_text() for p in (tmp_path / "model").glob("*.c"))
    assert "malloc" not in text and "TVM_" not in text and "TVMBackend" not in text


def test_the_same_bundle_gives_the_same_bytes(small: Bundle, tmp_path: Path) -> None:
    compile_bundle(small, "cortex-m4", tmp_path / "one")
    script = (
        "import sys; from spedge.compile import compile_bundle; compile_bundle(sys.argv[1], 'cortex-m4', sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-c", script, str(small.path), str(tmp_path / "two")],
        check=True,
        env={**os.environ, "PYTHONHASHSEED": "12345"},
        timeout=120,
    )
    one = tmp_path / "one"
    names = sorted(str(p.relative_to(one)) for p in one.rglob("*") if p.is_file())
    assert names == sorted(json.loads((tmp_path / "one/report.json").read_text())["files"])
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_report_and_model_describe_the_bundle(pico: Bundle, tmp_path: Path) -> None:
    stages: list[str] = []
    report = compile_bundle(pico, "cortex-m7", tmp_path / "model", on_progress=stages.append)
    assert len(stages) >= 4
    document = json.loads(report.to_json())
    assert document == json.loads((tmp_path / "model/report.json").read_text())
    assert document["bundle_hash"] == pico.hash and document["target"] == "cortex-m7"
    assert document["versions"]["apache-tvm"] and document["versions"]["onnx"]
    assert document["macs"] == sum(k["macs"] for k in document["kernels"])
    # At least the first layer's products over 129 rows, without the 16 columns that keys and values of each head may
    # keep; at most those of both layers.
    rows = 129
    layer = rows * (4 * 64 * 64 + 2 * 64 * 128) + 2 * rows * rows * 64
    assert layer - rows * 2 * 4 * 16 * 16 < document["macs"] < 2 * layer
    floats = sum(int(s) for s in _constant_sizes(tmp_path / "model/model_internal.h"))
    assert document["flash_bytes"] == 4 * floats
    assert document["flash_bytes"] == document["encoder_weight_bytes"] + document["embedding_weight_bytes"]
    model = (tmp_path / "model/model.c").read_text()
    assert f"0x{pico.hash[:2]}, 0x{pico.hash[2:4]}" in model and '"class 9"' in model


def _constant_sizes(path: Path) -> list[str]:
    return re.findall(r"^extern const float \w+\[(\d+)\]", path.read_text(), re.MULTILINE)


def test_the_embedding_is_stored_by_cell(small: Bundle, tmp_path: Path) -> None:
    compile_bundle(small, "native", tmp_path / "model")
    weight, _ = small.embedding_arrays()
    place = re.search(
        rf"size sp_w_embedding_weight, {weight.nbytes}\\n.*sp_w_begin \+ (\d+)",
        (tmp_path / "model/weights.c").read_text(),
    )
    assert place
    blob = (tmp_path / "model/weights.bin").read_bytes()
    stored = np.frombuffer(blob, "<f4", weight.size, int(place[1]))
    np.testing.assert_array_equal(stored.reshape(weight.shape[::-1]), weight.T)


def test_working_memory_keeps_its_budget(tmp_path: Path) -> None:
    """64 tokens, hidden 64, 2 layers: at most 64 KB, encoder input included."""
    shape = Shape(tokens=64, hidden=64, intermediate=128, heads=4, layers=2, classes=11)
    bundle = make_bundle(tmp_path / "bundle", make_encoder(shape), shape)
    assert compile_bundle(bundle, "cortex-m7", tmp_path / "model").arena_bytes <= 64 * 1024


# -- files


def test_an_earlier_result_is_replaced(small: Bundle, tmp_path: Path) -> None:
    compile_bundle(small, "cortex-m7", tmp_path / "model")
    compile_bundle(small, "native", tmp_path / "model")
    assert json.loads((tmp_path / "model/report.json").read_text())["target"] == "native"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_of_something_else_is_refused(small: Bundle, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files that no compilation wrote"):
        compile_bundle(small, "native", tmp_path)
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_interrupted_write_leaves_what_was_there(
    small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compile_bundle(small, "native", tmp_path / "model")
    before = (tmp_path / "model/report.json").read_text()
    write = Path.write_text

    def fail(self: Path, text: str) -> int:
        if self.name == "weights.c":
            raise KeyboardInterrupt
        return write(self, text)

    monkeypatch.setattr(Path, "write_text", fail)
    with pytest.raises(KeyboardInterrupt):
        compile_bundle(small, "cortex-m7", tmp_path / "model")
    assert (tmp_path / "model/report.json").read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


# -- errors


def test_an_unknown_target_names_the_known_ones(small: Bundle, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cortex-m9.*cortex-m7, cortex-m4, .*native"):
        compile_bundle(small, "cortex-m9", tmp_path / "model")


def test_a_missing_tvm_names_the_extra(small: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tvm", None)
    with pytest.raises(UsageError, match=r"pip install 'spedge\[compile\]'"):
        compile_bundle(small, "native", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_missing_bundle_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        compile_bundle(tmp_path / "nothing", "native", tmp_path / "model")


def refuse(tmp_path: Path, model: onnx.ModelProto, shape: Shape, message: str, target: str = "native") -> None:
    bundle = make_bundle(tmp_path / "bundle", model, shape)
    with pytest.raises(CompileError, match=message):
        compile_bundle(bundle, target, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def edit(shape: Shape, op: str, change: dict[str, str], index: int = 0) -> onnx.ModelProto:
    """An encoder with one node's operator replaced."""
    model: onnx.ModelProto = make_encoder(shape)
    node = [n for n in model.graph.node if n.op_type == op][index]
    node.op_type = change["op_type"]
    del node.attribute[:]
    return model


def test_an_unsupported_operator_is_named_with_its_node(tmp_path: Path) -> None:
    model = edit(Shape(activation="relu"), "Relu", {"op_type": "Softsign"})
    refuse(tmp_path, model, SMALL, "unsupported ONNX operator: Softsign node 'Relu_")


def constant_of(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    found: onnx.TensorProto = next(c for c in model.graph.initializer if c.name == name)
    return found


def test_a_mask_that_is_off_by_one_is_refused(tmp_path: Path) -> None:
    model = make_encoder(SMALL)
    limit = next(n for n in model.graph.node if "length" in n.input)
    constant = constant_of(model, limit.input[1])
    constant.CopyFrom(onnx.numpy_helper.from_array(np.array([SMALL.prefix + 1], np.int32), constant.name))
    refuse(tmp_path, model, SMALL, "does not leave exactly the first .* tokens present")


def test_a_mask_too_weak_to_mask_is_refused(tmp_path: Path) -> None:
    model = make_encoder(SMALL)
    where = next(n for n in model.graph.node if n.op_type == "Where")
    constant = constant_of(model, where.input[1])
    constant.CopyFrom(onnx.numpy_helper.from_array(np.array(-5, np.float32), constant.name))
    refuse(tmp_path, model, SMALL, "does not leave exactly the first")


def test_attention_to_padding_is_refused(tmp_path: Path) -> None:
    model = make_encoder(SMALL)
    add = next(n for n in model.graph.node if n.op_type == "Add" and "Where" in _maker(model, n.input[1]))
    softmax = next(n for n in model.graph.node if add.output[0] in n.input)
    softmax.input[0] = add.input[0]
    refuse(tmp_path, model, SMALL, "not masked by length")


def _maker(model: onnx.ModelProto, value: str) -> str:
    return next((n.op_type for n in model.graph.node if value in n.output), "")


def test_reading_a_token_that_may_be_absent_is_refused(tmp_path: Path) -> None:
    model = make_encoder(SMALL)
    gather = [n for n in model.graph.node if n.op_type == "Gather"][-1]
    constant = constant_of(model, gather.input[1])
    constant.CopyFrom(onnx.numpy_helper.from_array(np.array(3, np.int64), constant.name))
    refuse(tmp_path, model, SMALL, "reads row 3, a token that may be absent")


def test_pooling_is_refused_by_name(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("ReduceMean", ["tokens", "axes"], ["mean"], name="pool", keepdims=0),
        helper.make_node("Gemm", ["mean", "weight"], ["logits"], name="head"),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([1], np.int64), "axes"),
        onnx.numpy_helper.from_array(np.ones((SMALL.hidden, SMALL.classes), np.float32), "weight"),
    ]
    refuse(tmp_path, make_model(SMALL, nodes, constants), SMALL, "unsupported ONNX operator: ReduceMean node 'pool'")


@pytest.mark.parametrize("target", ["native", "cortex-m7"])
def test_weights_that_are_not_numbers_are_refused(target: str, tmp_path: Path) -> None:
    model = make_encoder(SMALL)
    name = next(n for n in model.graph.node if n.op_type == "Gemm").input[1]
    constant = constant_of(model, name)
    values = onnx.numpy_helper.to_array(constant).copy()
    values[0, 0] = np.nan
    constant.CopyFrom(onnx.numpy_helper.from_array(values, name))
    refuse(tmp_path, model, SMALL, "not a finite number", target)


def test_other_outputs_than_logits_are_refused(small: Bundle, tmp_path: Path) -> None:
    files = {name: small.file(name).read_bytes() for name in FILES}
    spec = replace(small.plain(), outputs=(*small.outputs, Output("map", (3, 4))))
    bundle = write_bundle(tmp_path / "bundle", spec, files)
    with pytest.raises(CompileError, match="gives logits, map: a compiled one gives logits and nothing else"):
        compile_bundle(bundle, "native", tmp_path / "model")
    with pytest.raises(InputError, match="has a graph without its output map: export it again"):
        Reference(bundle).encode(np.zeros((1, bundle.token_input.features), np.float32))


def test_a_bundle_that_disagrees_with_its_encoder_is_refused(tmp_path: Path) -> None:
    model = make_encoder(SMALL)
    bundle = make_bundle(tmp_path / "bundle", model, Shape(tokens=SMALL.tokens + 1))
    with pytest.raises(CompileError, match=r"takes tokens \[1, 24, 16\], but the bundle says 25 tokens"):
        compile_bundle(bundle, "native", tmp_path / "model")
