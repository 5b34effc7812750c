"""Predicted cycles: blocks of a disassembly, their counts, and what llvm-mca makes of them."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from spedge.base.errors import UsageError
from spedge.bench.machine import load_machine
from spedge.boards.manifest import load_board
from spedge.cli import execute
from spedge.cli.compile import _print_inspection
from spedge.compile import TARGETS
from spedge.compile.errors import MissingCompilerError
from spedge.compile.measure import armv6m, cycles
from spedge.compile.measure.blocks import Instruction, executed_blocks
from spedge.compile.measure.cycles import _of_core, unconditional
from spedge.compile.measure.inspection import inspect
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.compile.measure.tune import PREDICTED, tune
from spedge.model.bundle import Bundle
from tests.needs import needs
from tests.variants import long

needs("tvm", "cc")

SHAPE = Shape(tokens=9, hidden=12, intermediate=18, heads=2, layers=2, classes=5)
M7 = TARGETS["cortex-m7"]

# Ten rounds of a loop of three instructions after two, and a part that is never entered.
PROGRAM = """
.syntax unified
.thumb
.global sp_k_sum
.type sp_k_sum, %function
.thumb_func
sp_k_sum:
    movs r1, #10
    movs r2, #0
1:  adds r2, r2, r0
    subs r1, #1
    bne 1b
    cbz r0, 2f
    bx lr
2:  udf #0
"""


def llvm() -> None:
    for tool in (*cycles.TOOLS, "arm-none-eabi-gcc"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made: Bundle = make_bundle(tmp_path_factory.mktemp("cycles") / "bundle", make_encoder(SHAPE), SHAPE, samples=2)
    return made


def emulated(name: str) -> None:
    llvm()
    if load_board(name).missing:
        pytest.skip(f"not installed: {', '.join(load_board(name).packages_missing)}")


def test_blocks_are_counted_by_where_the_emulator_begins(tmp_path: Path) -> None:
    llvm()
    (tmp_path / "sum.s").write_text(PROGRAM)
    image = tmp_path / "sum.elf"
    command = ["arm-none-eabi-gcc", "-mcpu=cortex-m7", "-mthumb", "-nostdlib", "-Wl,-Ttext=0x1004,-e0x1004"]
    subprocess.run([*command, str(tmp_path / "sum.s"), "-o", str(image)], check=True, timeout=60)
    # The first round is part of what begins with the function; the block after the loop is entered once.
    blocks = executed_blocks(image, M7, {0x1004: 1, 0x1008: 9, 0x100E: 1, 0x1010: 1, 0x100A: 7}, r"sp_k_\w+")
    assert [(b.offset, len(b.code), b.executed, b.loops) for b in blocks] == [
        (0, 2, 1, False),
        (4, 3, 10, True),
        (10, 1, 1, False),
        (12, 1, 1, False),
    ]
    found = _of_core(blocks, M7, "cortex-m7")
    assert (found.instructions, found.unknown) == (34, 0)
    (loop,) = found.loops
    assert (loop.kernel, loop.offset, loop.executed, loop.instructions) == ("sp_k_sum", 4, 10, 3)
    assert 1 <= loop.predicted_cycles <= 6
    assert found.predicted_cycles >= loop.total
    # On a page's first address the emulator begins anew, though nothing branched there.
    subprocess.run([*command[:-1], "-Wl,-Ttext=0x13fc,-e0x13fc", str(tmp_path / "sum.s"), "-o", str(image)], check=True)
    blocks = executed_blocks(image, M7, {0x13FC: 1, 0x1400: 10, 0x1406: 1, 0x1408: 1}, r"sp_k_\w+")
    assert [b.executed for b in blocks] == [1, 10, 1, 1]


def test_a_cortex_m0plus_goes_by_its_manual() -> None:
    wanted = {
        "muls r0, r1, r0": 1,
        "add r8, r5": 1,
        "ldr r0, [r1, #4]": 2,
        "strh r0, [r1]": 2,
        "ldm r0!, {r5, r6, r7}": 4,
        "stm r3!, {r4, r5-r7}": 5,
        "push {r4, r5, lr}": 4,
        "pop {r4-r7, pc}": 8,
        "pop {r4}": 2,
        "bne elsewhere": 2,
        "b elsewhere": 2,
        "bl elsewhere": 3,
        "bx lr": 2,
        "bics r0, r1": 1,
        "dmb sy": 3,
    }
    assert {text: armv6m.cycles([Instruction(0, text)]) for text in wanted} == wanted
    assert armv6m.cycles([Instruction(0, text) for text in wanted]) == sum(wanted.values())


def test_what_depends_on_a_condition_is_counted_as_executed() -> None:
    code = ["cmp r0, #1", "itet lo", "vmovlo.f32 s0, s1", "addhs r1, r2, #3", "lsllo.w r0, r1, #2", "bx lr"]
    assert unconditional(code) == ["cmp r0, #1", "vmov.f32 s0, s1", "add r1, r2, #3", "lsl.w r0, r1, #2", "bx lr"]


@pytest.mark.parametrize("precision", ["fp32", *long("int8")])
def test_the_blocks_are_all_that_the_board_counted(bundle: Bundle, precision: str) -> None:
    emulated("mps2-an500")
    machine = load_machine("mps2-an500")
    rows = bundle.vectors()[0].embedded
    (run,) = machine.run(bundle, precision, [rows])
    (found,) = cycles.predict(bundle, M7, precision, machine, [rows])
    assert abs(found.instructions - run.cost) <= 80  # the board's clock ticks every 40
    assert found.unknown < 0.05 * found.instructions  # comparisons with zero, in the tails of a small linear
    assert sum(k.instructions for k in found.kernels) == found.instructions
    assert found.predicted_cycles == pytest.approx(sum(k.predicted_cycles for k in found.kernels))
    assert 0.5 * found.instructions < found.predicted_cycles < 3 * found.instructions
    assert found.loops and all(loop.executed > 0 for loop in found.loops)
    (twice,) = cycles.predict(bundle, M7, precision, machine, [rows, rows])
    start_up = 2 * found.instructions - twice.instructions  # memset, which the image calls once before it
    assert 0 <= start_up < 80


def test_the_report_has_them(bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    emulated("mps2-an500")
    report = inspect(bundle, "cortex-m7", machine=load_machine("mps2-an500"))
    (prediction,) = report.predictions
    assert report.instructions and abs(prediction.instructions - report.instructions) <= 80
    document = json.loads(report.to_json())["predictions"][0]
    assert document["core"] == "cortex-m7" and document["tool"].startswith("llvm-mca")
    assert document["predicted_cycles"] > 0 and document["loops"][0]["predicted_cycles"] > 0
    _print_inspection(report)
    said = capfd.readouterr().out
    assert "predicted cycles" in said and prediction.loops[0].kernel in said


def test_without_an_fpu_library_calls_are_counted_too(bundle: Bundle) -> None:
    emulated("mps2-m0plus")
    machine = load_machine("mps2-m0plus")
    rows = bundle.vectors()[0].embedded
    (run,) = machine.run(bundle, "fp32", [rows])
    (found,) = cycles.predict(bundle, TARGETS["cortex-m0plus"], "fp32", machine, [rows])
    assert abs(found.instructions - run.cost) < 0.01 * run.cost
    assert (found.core, found.tool, found.unknown) == ("cortex-m0plus", armv6m.MANUAL, 0)
    assert 1.1 * found.instructions < found.predicted_cycles < 1.6 * found.instructions
    assert {"sp_integer_near", "__aeabi_fadd"} <= {kernel.kernel for kernel in found.kernels}


def test_without_llvm_a_sentence_names_the_package(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    emulated("mps2-an500")
    monkeypatch.setattr(cycles, "TOOLS", ("llvm-of-nobody",))
    sentence = "predicted cycles need llvm-of-nobody, not installed here: sudo apt-get install llvm"
    with pytest.raises(MissingCompilerError, match=sentence):
        tune(bundle, "cortex-m7", load_machine("mps2-an500"), by="cycles")
    arguments = ["compile", str(bundle.path), "--target", "cortex-m7", "--out", str(tmp_path / "model")]
    assert execute([*arguments, "--report", "--measure", "mps2-an500", "--json"]) == 0
    inspection = json.loads(capfd.readouterr().out)["inspection"]
    assert inspection["unpredicted"] == sentence and inspection["predictions"] == []
    assert inspection["instructions"] > 0


@pytest.mark.long
def test_kernels_are_searched_by_cycles(bundle: Bundle) -> None:
    emulated("mps2-an500")
    points = [[{"unroll": 2}, {"unroll": M7.unroll}]]
    first, second = (tune(bundle, "cortex-m7", load_machine("mps2-an500"), space=points, by="cycles") for _ in range(2))
    assert first == second and first.unit == PREDICTED and first.exact
    assert len({t.cost for t in first.trials}) == 2
    assert first.best.cost == min(t.cost for t in first.trials if t.cost is not None)


def test_what_cannot_be_searched_by_cycles_is_refused(
    bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UsageError, match=r"no cycles are predicted of native: cortex-m7, cortex-m4, cortex-m55 can be"):
        tune(bundle, "native", load_machine("sim"), by="cycles")
    with pytest.raises(UsageError, match="not searched by 'watts': choose one of instructions, cycles"):
        tune(bundle, "native", load_machine("sim"), by="watts")
    arguments = ["compile", str(bundle.path), "--target", "native", "--out", str(tmp_path / "model")]
    assert execute([*arguments, "--by", "cycles"]) == 2
    assert "--by goes with --tune" in capfd.readouterr().err
    with pytest.raises(UsageError, match="what sim executes cannot be counted"):
        load_machine("sim").trace(bundle, "fp32", [])
