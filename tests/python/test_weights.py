"""Constants as data: what weights.bin holds, and what is said of one that is not the folder's."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.boards.build import build
from spedge.boards.manifest import load_board
from spedge.boards.platformio import BuildError
from tests.needs import needs

from .generated import sources_of

needs("tvm", "onnx")

from spedge.compile import compile_bundle  # noqa: E402
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder  # noqa: E402
from spedge.compile.text.weights import ALIGN, TAG_BYTES, weights  # noqa: E402

SMALL = Shape(tokens=4, hidden=8, intermediate=8, heads=2, layers=1, classes=3)
PROBE = """
#include "model.h"
#include <stdio.h>
static float arena[SP_MODEL_ARENA_BYTES / 4] __attribute__((aligned(16)));
int main(void)
{
    printf("%d", sp_model.encode(arena, 1));
    return 0;
}
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same sizes twice, with other weights."""
    folder = tmp_path_factory.mktemp("weights")
    for seed in (1, 2):
        shape = Shape(**{**SMALL.__dict__, "seed": seed})
        compile_bundle(make_bundle(folder / f"b{seed}", make_encoder(shape), shape), "native", folder / f"m{seed}")
    return folder / "m1", folder / "m2"


def code_of_encode(folder: Path) -> str:
    (folder / "probe.c").write_text(PROBE)
    sources = ["probe.c", *sources_of(folder, ["cc", "-std=c99"])]
    subprocess.run(["cc", "-std=c99", "-I.", "-Iinclude", *sources, "-lm", "-o", "probe"], cwd=folder, check=True)
    return subprocess.run([folder / "probe"], capture_output=True, text=True, check=True).stdout


def test_every_element_comes_back_and_is_aligned() -> None:
    rng = np.random.default_rng(3)
    bits = rng.integers(0, 2**32, 37, np.uint64).astype(np.uint32)  # any float: also infinite, subnormal, no number
    given: dict[str, NDArray[Any]] = {
        "one": bits.view(np.float32),
        "two": rng.integers(-128, 128, (3, 7)).astype(np.int8),
        "none": np.zeros((0, 4), np.float32),
        "big_endian": np.arange(5, dtype=">i8"),
        "strided": np.arange(24, dtype=np.float32).reshape(4, 6).T,
        "truth": np.array([True, False, True]),
    }
    laid = weights(given)
    found = re.findall(r"size sp_w_(\w+), (\d+)\\n\.set \w+, sp_w_begin \+ (\d+)", laid.source)
    assert [name for name, _, _ in found] == ["tag", *given]
    for name, size, at in found[1:]:
        array = given[name]
        wanted = array.astype(array.dtype.newbyteorder("<")).tobytes() or bytes(4)
        assert int(at) % ALIGN == 0 and int(at) >= TAG_BYTES
        assert laid.blob[int(at) : int(at) + int(size)] == wanted, name
    assert f", 0, {len(laid.blob)}\\n" in laid.source


def test_weights_of_another_compilation_are_refused_when_they_run(compiled: tuple[Path, Path], tmp_path: Path) -> None:
    mine, other = compiled
    folder = shutil.copytree(mine, tmp_path / "mixed")
    assert code_of_encode(folder) == "0"
    assert (mine / "weights.bin").stat().st_size == (other / "weights.bin").stat().st_size
    shutil.copy(other / "weights.bin", folder)
    assert code_of_encode(folder) == "-4"


def test_a_cut_file_does_not_build(compiled: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(compiled[0], tmp_path / "cut")
    whole = (folder / "weights.bin").read_bytes()
    (folder / "weights.bin").write_bytes(whole[:-1])
    done = subprocess.run(
        ["cc", "-I.", "-Iinclude", "-c", "weights.c"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and "invalid for file size" in done.stderr


@pytest.mark.parametrize("what", ["a bit", "another"])
def test_a_build_says_what_is_damaged(compiled: tuple[Path, Path], tmp_path: Path, what: str) -> None:
    mine, other = compiled
    folder = shutil.copytree(mine, tmp_path / "damaged")
    data = bytearray((mine if what == "a bit" else other).joinpath("weights.bin").read_bytes())
    if what == "a bit":
        data[-20] ^= 1
    (folder / "weights.bin").write_bytes(data)
    with pytest.raises(BuildError, match=r"weights\.bin is not what the compiler wrote: compile the model again"):
        build(load_board("sim"), None, model=folder)
