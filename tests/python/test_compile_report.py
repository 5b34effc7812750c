"""spedge compile --report: sizes, kernels and the error of each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spedge.base.errors import UsageError
from spedge.bench.machine import load_machine
from spedge.boards.manifest import load_board
from spedge.cli import execute
from spedge.compile import TARGETS, CompileError
from spedge.compile.measure import inspection
from spedge.compile.measure.footprint import footprint
from spedge.compile.measure.inspection import Inspection, inspect
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.model.bundle import Bundle
from tests.needs import needs

needs("tvm", "cc")

SHAPE = Shape(tokens=9, hidden=12, intermediate=18, heads=2, layers=2, classes=5)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made: Bundle = make_bundle(tmp_path_factory.mktemp("report") / "bundle", make_encoder(SHAPE), SHAPE, samples=3)
    return made


@pytest.fixture(scope="module")
def right(bundle: Bundle) -> Inspection:
    return inspect(bundle, "native")


@pytest.mark.parametrize(("target", "precision"), [("native", "fp32"), ("cortex-m7", "int8")])
def test_every_value_is_compared(bundle: Bundle, right: Inspection, target: str, precision: str) -> None:
    report = right if target == "native" else inspect(bundle, target, precision)
    assert report.macs == sum(c.macs for c in report.calls)
    assert sum(c.share for c in report.calls) == pytest.approx(1)
    compared = [c for c in report.calls if c.cosine is not None]
    assert len(compared) > 15 and report.samples == 3
    for call in compared:
        assert call.max_abs_error is not None and call.max_abs_error <= 1e-5, call
        assert call.cosine == pytest.approx(1, abs=1e-9)
    assert report.max_abs_error == max(c.max_abs_error or 0 for c in compared if c.computes == compared[-1].computes)
    assert report.footprint is not None and report.footprint.stack_bytes > 0


def test_a_wrong_kernel_is_found_by_its_row(bundle: Bundle, right: Inspection, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = next(c for c in right.calls if "gelu" in c.kernel)
    write = inspection.write_folder

    def break_gelu(folder: Path, files: dict[str, str | bytes]) -> None:
        text = str(files["kernels.c"])
        begin = text.index(f"void {victim.kernel}(")
        body = text[begin : text.index("\n}\n", begin)]
        assert body.count(", 1, (&(out[") == 1  # that it ends with GELU
        write(folder, {**files, "kernels.c": text.replace(body, body.replace(", 1, (&(out[", ", 0, (&(out["))})

    monkeypatch.setattr(inspection, "write_folder", break_gelu)
    wrong = inspect(bundle, "native")
    first = next(c for c in wrong.calls if (c.max_abs_error or 0) > 1e-3)
    assert (first.kernel, first.computes) == (victim.kernel, victim.computes)
    assert wrong.max_abs_error > 1e-3


def test_the_command_adds_it_to_the_report(bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    target = ["--target", "native", "--out", str(tmp_path / "model")]
    assert execute(["compile", str(bundle.path), *target, "--report", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)["inspection"]
    assert document["instructions"] is None and document["footprint"]["flash_bytes"] > 0
    assert {"kernel", "computes", "calls", "macs", "share", "max_abs_error", "rmse", "cosine"} <= set(
        document["calls"][0]
    )
    assert "probe" not in "".join(p.read_text() for p in (tmp_path / "model").glob("*.[ch]"))
    assert execute(["compile", str(bundle.path), *target, "--measure", "mps2-an500"]) == 2
    assert "--measure goes with --report" in capfd.readouterr().err


def test_instructions_of_the_kernels_add_up(bundle: Bundle) -> None:
    board = load_board("mps2-an500")
    if board.missing:
        pytest.skip(f"not installed: {', '.join(tool.program for tool in board.missing)}")
    report = inspect(bundle, "cortex-m7", machine=load_machine("mps2-an500"))
    assert report.instructions is not None
    counted = sum(c.instructions or 0 for c in report.calls)
    assert 0.8 * report.instructions < counted < 1.05 * report.instructions


def test_a_board_that_cannot_count_is_refused(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="sim cannot count the instructions of native"):
        inspect(bundle, "native", machine=load_machine("sim"))


def test_a_frame_without_a_fixed_size_is_refused(tmp_path: Path) -> None:
    for name in ("model.c", "kernels.c", "weights.c"):
        (tmp_path / name).write_text("void f(int n);\nvoid f(int n)\n{\n    volatile char a[n];\n    a[0] = 0;\n}\n")
    with pytest.raises(CompileError, match="the frame of f has no fixed size"):
        footprint(tmp_path, TARGETS["native"])
