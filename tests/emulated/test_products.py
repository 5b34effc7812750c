"""Kernels of products for aarch64, on models of cores with dot products and without: results, and what is executed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.errors import DeviceError, UsageError
from spedge.bench.machine import Machine, load_machine
from spedge.cli import execute
from spedge.compile.measure import products
from spedge.compile.measure.blocks import executed_blocks
from spedge.compile.measure.products import build_program, count_products, packed_input
from spedge.compile.targets import TARGETS
from tests.needs import needs
from tests.tiny import missing_for

needs("tvm")

pytestmark = pytest.mark.skipif(missing_for("jetson") is not None, reason=str(missing_for("jetson")))

TARGET = TARGETS["aarch64"]
PLAIN, DOT = "cortex-a57", "max"  # cores without dot products and with them
INVERSE = 8.0


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = build_program(tmp_path_factory.mktemp("products") / "baseline", TARGET, "baseline")
    return made


@pytest.fixture(scope="module")
def machine() -> Machine:
    return load_machine("jetson")


def llvm() -> None:
    for tool in ("llvm-mca", "llvm-objdump"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")


def given(rows: int, depth: int, columns: int, extreme: bool) -> tuple[NDArray[Any], ...]:
    """x, w, scale and bias; the largest numbers of one sign where they are extreme."""
    random = np.random.default_rng(columns)
    x = 8 * random.normal(0, 1, (rows, depth)).astype(np.float32)
    w = np.clip(np.rint(60 * random.normal(0, 1, (depth, columns))), -127, 127).astype(np.int8)
    if extreme:
        x, w = np.full_like(x, -1e6), np.full_like(w, 127)
    return x, w, random.uniform(0.5, 2, columns).astype(np.float32), random.normal(0, 1, columns).astype(np.float32)


@pytest.mark.parametrize("sizes", [(1, 7, 5), (9, 44, 33), (66, 130, 96), (8, 128, 32)], ids=str)
def test_neon_and_dot_products_give_the_same_bytes(
    program: Path, machine: Machine, sizes: tuple[int, int, int]
) -> None:
    x, w, scale, bias = given(*sizes, extreme=sizes[0] == 8)
    read = packed_input("int8", False, x, w, scale, bias)

    def run(vectors: str, core: str, by: str) -> bytes:
        done = machine.execute(program, ["int8", vectors, *map(str, sizes), str(INVERSE)], read, by, core)
        assert done.starts, f"{core} did not compute by {by}"
        return done.output

    found = [
        run("best", PLAIN, "sp_k_product_int8_baseline"),
        run("baseline", DOT, "sp_k_product_int8_baseline"),
        run("best", DOT, "sp_k_product_int8_dotprod"),
    ]
    assert found[0] == found[1] == found[2]
    rounded = np.clip(np.rint(INVERSE * x), -128, 127).astype(np.int64)
    exact = (rounded @ w.astype(np.int64)) * scale.astype(np.float64) + bias
    got = np.frombuffer(found[0], np.float32).reshape(exact.shape)
    np.testing.assert_allclose(got, exact, rtol=1e-6, atol=1e-6 * np.abs(exact).max())


def test_dot_products_are_refused_where_the_core_has_none(program: Path, machine: Machine) -> None:
    read = packed_input("int8", False, *given(1, 4, 4, extreme=False))
    with pytest.raises(DeviceError, match="products on cortex-a57 ended with status 2"):
        machine.execute(program, ["int8", "dotprod", "1", "4", "4", "1"], read, "main", PLAIN)
    with pytest.raises(UsageError, match="sim is no program in QEMU"):
        load_machine("sim").execute(program, [], b"", "main", PLAIN)


def test_kernels_take_far_fewer_instructions_than_loops(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    llvm()
    monkeypatch.setattr(products, "encoder_products", lambda hidden, wide: ((wide, hidden),))  # of three
    assert execute(["bench", "products", "--size", "pico", "--tokens", "15", "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    costs = {(c["precision"], c["vectors"]): c for c in document["products"]}
    assert set(costs) == set(products.KINDS)
    for cost in costs.values():
        assert (cost["rows"], cost["depth"], cost["columns"]) == (16, 128, 64)
        assert 1 / 16 < cost["kernel"]["instructions"] < 0.6 * cost["loop"]["instructions"]
        assert cost["loop"]["instructions"] < 2  # it was made vectors of
        assert set(cost["kernel"]["predicted_cycles"]) == set(cost["loop"]["predicted_cycles"]) != set()
    by_bytes, by_floats = (costs[p, "baseline"]["kernel"]["instructions"] for p in ("int8", "fp32"))
    assert costs["int8", "dotprod"]["kernel"]["instructions"] < by_bytes < 1.05 * by_floats
    assert execute(["bench", "products", "--size", "huge"]) == 2


@pytest.mark.long
def test_what_is_counted_of_a_panel_and_of_a_row_is_what_the_whole_takes(program: Path, machine: Machine) -> None:
    llvm()
    sizes = rows, depth, columns = 9, 16, 96
    (cost,) = count_products(machine, rows, [(depth, columns)], [("int8", "baseline")])
    x, w, scale, bias = given(*sizes, extreme=False)

    def whole(by_loop: bool, functions: str) -> float:
        read = packed_input("int8", by_loop, x, w, scale, bias)
        arguments = ["int8", "loop" if by_loop else "baseline", *map(str, sizes), str(INVERSE)]
        done = machine.execute(program, arguments, read, functions, PLAIN)
        blocks = executed_blocks(program, TARGET, done.starts, functions)
        return float(sum(block.executed * len(block.code) for block in blocks) / cost.macs)

    kernel = whole(False, r"sp_k_(product|quantise)\w*")
    assert kernel == pytest.approx(cost.kernel.instructions, rel=0.02)
    assert whole(True, r"loop_\w+") == pytest.approx(cost.loop.instructions, rel=0.02)
