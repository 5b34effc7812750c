"""Kernels of whole matrices (firmware/runtime/rows): every kind of vector instructions, and any number of threads."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from spedge.base.objects import rows_objects
from spedge.base.paths import firmware_dir
from spedge.boards.manifest import load_board
from spedge.cli import execute
from spedge.compile.kernels.rows import PANEL, pack_pairs, pack_panels, pad_panels, panels
from spedge.device.open import Device, open_board
from tests.needs import needs

from .generated import WARNINGS

needs("cc")

RUNTIME = firmware_dir() / "runtime"
THREADS = (1, 2, 3, 7)
Floats = NDArray[np.float32]
_STRESS = """
#include "spedge/threads.h"
#include <stdio.h>
static int seen[1000];
static void work(const void *context, int32_t item, int32_t worker)
{
    seen[item] += *(const int *)context + (worker < 0 || worker > 3);
}
int main(void)
{
    int wanted = 0, given;
    if (sp_threads_start(4) != 4 || sp_threads() != 4)
        return 2;
    for (int round = 0; round < 2000; ++round) {
        const int items = round % 7 == 0 ? 1000 : round % 5;
        given = round;
        sp_threads_share(work, &given, items, 1 + round % 4);
        for (int i = 0; i < items; ++i)
            if (seen[i] != round)
                return 3;
        for (int i = 0; i < items; ++i)
            seen[i] = 0;
        wanted += items;
    }
    printf("%d items\\n", wanted);
    return 0;
}
"""


@dataclass(frozen=True)
class Rows:
    """The kernels, in this process."""

    library: ctypes.CDLL

    def use(self, threads: int, vectors: str | None = None) -> int:
        return int(self.library.sp_k_rows_use(threads, vectors and vectors.encode()))

    @property
    def kinds(self) -> list[str]:
        """Of vector instructions that this machine has."""
        known = ("baseline", "avx2", "avx512", "avx512vnni", "dotprod")
        return [name for name in known if self.use(1, name) == 0]

    def call(self, name: str, *arguments: object) -> None:
        def c(value: object) -> object:
            if isinstance(value, np.ndarray):
                return ctypes.c_void_p(value.ctypes.data)
            return ctypes.c_float(value) if isinstance(value, float) else value

        getattr(self.library, name)(*map(c, arguments))


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Rows:
    command = ["cc", "-std=c99", "-pedantic", *WARNINGS, "-O1", "-ffp-contract=off", "-fPIC"]
    objects = rows_objects(RUNTIME, [*command, f"-I{firmware_dir() / 'lib/include'}"])
    library = tmp_path_factory.mktemp("rows") / "rows.so"
    subprocess.run(["cc", "-shared", *map(str, objects), "-pthread", "-lm", "-o", str(library)], check=True)
    return Rows(ctypes.CDLL(str(library)))


def random(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def product(rows: Rows, x: Floats, w: Floats, bias: Floats, plus: Floats, kind: str, gelu: int = 0) -> Floats:
    """plus + bias + x w, of weights as the kind has them."""
    n, (depth, width) = len(x), w.shape
    out = np.full((n, width), np.nan, np.float32)
    end = (pad_panels(bias), plus, width, gelu, out, width)
    scale = pad_panels(np.full(width, 0.5, np.float32))
    if kind == "floats":
        rows.call("sp_k_rows_product", x, depth, n, pack_panels(w), depth, width, *end)
    elif kind == "bytes":
        packed = pack_panels(w.astype(np.int8))
        rows.call("sp_k_rows_product_bytes", x, depth, n, packed, depth, width, scale, *end)
    else:
        even = depth + depth % 2
        rounded = np.full((n, even), 99, np.int16)
        rows.call("sp_k_rows_quantise", x, depth, n, depth, 8.0, rounded, even)
        assert np.array_equal(rounded[:, :depth], np.clip(np.rint(8 * x), -128, 127))
        assert not rounded[:, depth:].any()
        packed = pack_pairs(w.astype(np.int8))
        rows.call("sp_k_rows_product_int8", rounded, even, n, packed, even, width, scale, *end)
    return out


def attention(rows: Rows, q: Floats, k: Floats, v: Floats, heads: int) -> Floats:
    n, depth, width = len(k), q.shape[1] // heads, v.shape[1] // heads
    wide = panels(n) * PANEL
    size = wide * depth + panels(width) * PANEL * n + 12 * wide
    out, scratch = np.full((len(q), heads * width), np.nan, np.float32), np.full(heads * size, np.nan, np.float32)
    given = (q, heads * depth, depth, k, heads * depth, depth, v, heads * width, width, len(q), n, depth, width, heads)
    rows.call("sp_k_rows_attention", *given, scratch, size, heads, out, heads * width, width)
    return out


@pytest.mark.parametrize("kind", ["floats", "bytes", "int8"])
@pytest.mark.parametrize("shape", [(1, 7, 5), (3, 96, 33), (65, 43, 80), (130, 160, 161)], ids=str)
def test_products_are_right_by_all_vectors_and_the_same_on_any_number_of_threads(
    rows: Rows, kind: str, shape: tuple[int, int, int]
) -> None:
    n, depth, width = shape
    x, bias, plus = random(n, depth), random(width, seed=2), random(n, width, seed=3)
    w = (
        random(depth, width, seed=1)
        if kind == "floats"
        else np.clip(np.rint(40 * random(depth, width, seed=1)), -127, 127)
    )
    seen = np.clip(np.rint(8 * x), -128, 127) if kind == "int8" else x
    exact = (seen.astype(np.float64) @ w) * (1 if kind == "floats" else 0.5) + bias + plus
    for vectors in rows.kinds:
        found = []
        for threads in THREADS:
            assert rows.use(threads, vectors) == 0
            found.append(product(rows, x, w, bias, plus, kind))
        assert all(np.array_equal(found[0], other) for other in found[1:]), vectors
        np.testing.assert_allclose(found[0], exact, rtol=3e-6, atol=3e-6 * np.abs(exact).max(), err_msg=vectors)


def test_attention_and_norms_are_right_by_all_vectors_and_the_same_on_any_number_of_threads(rows: Rows) -> None:
    heads, n, depth = 5, 77, 40
    q, k, v = (random(n, heads * depth, seed=seed) for seed in range(3))
    split = [m.reshape(n, heads, depth).transpose(1, 0, 2).astype(np.float64) for m in (0.2 * q, k, v)]
    weights = np.exp2(split[0] @ split[1].transpose(0, 2, 1))
    exact = (weights / weights.sum(-1, keepdims=True) @ split[2]).transpose(1, 0, 2).reshape(n, -1)
    normal = (k - k.mean(1, keepdims=True)) / k.std(1, keepdims=True)
    for vectors in rows.kinds:
        found = []
        for threads in THREADS:
            assert rows.use(threads, vectors) == 0
            out = np.full_like(k, np.nan)
            width = heads * depth
            rows.call("sp_k_rows_norm", k, width, n, width, 1 / width, 1e-12, None, None, out, width)
            found.append(np.stack([attention(rows, (0.2 * q).astype(np.float32), k, v, heads), out]))
        assert all(np.array_equal(found[0], other) for other in found[1:]), vectors
        np.testing.assert_allclose(found[0][0], exact, atol=5e-6, err_msg=vectors)
        np.testing.assert_allclose(found[0][1], normal, atol=5e-6, err_msg=vectors)


def test_gelu_and_tiles_are_the_same_by_all_vectors(rows: Rows) -> None:
    x, w, plus = random(9, 32), random(32, 40, seed=1), np.zeros((9, 40), np.float32)
    seen = []
    for vectors in rows.kinds:
        assert rows.use(1, vectors) == 0
        sums = np.ones((4, 8), np.float32)
        rows.call("sp_k_tile_4x8", x, 32, w, 40, 32, sums)
        np.testing.assert_allclose(sums, 1 + x[:4].astype(np.float64) @ w[:, :8], atol=2e-5)
        seen.append(product(rows, x, w, np.zeros(40, np.float32), plus, "floats", gelu=1))
    for other in seen:
        np.testing.assert_allclose(other, seen[0], atol=1e-5)


def test_what_the_machine_does_not_have_is_refused(rows: Rows) -> None:
    assert "baseline" in rows.kinds
    assert rows.use(1, "mmx") < 0 and rows.use(0) < 0 and rows.use(65) < 0


def test_each_item_is_done_once(tmp_path: Path) -> None:
    """By the sanitizer of threads, which finds what is not ordered."""
    (tmp_path / "stress.c").write_text(_STRESS)
    flags = ["-std=c11", "-O1", "-g", "-fsanitize=thread", "-pthread", f"-I{RUNTIME / 'include'}"]
    sources = [str(tmp_path / "stress.c"), str(RUNTIME / "rows/threads.c")]
    subprocess.run(["cc", *flags, *sources, "-o", str(tmp_path / "stress")], check=True)
    done = subprocess.run([tmp_path / "stress"], capture_output=True, text=True, check=False)
    if "unexpected memory mapping" in done.stderr:
        pytest.skip("the sanitizer of threads does not work with this kernel's random addresses (vm.mmap_rnd_bits)")
    assert (done.returncode, done.stdout) == (0, "289430 items\n"), done.stderr


def test_a_board_of_linux_computes_on_threads(image: Path) -> None:
    with open_board(load_board("sim").on_threads(3), image) as device:
        assert device.hello.board == "sim"


@pytest.mark.parametrize("threads", ["0", "two", "65"])
def test_an_agent_refuses_threads_that_cannot_be(image: Path, threads: str) -> None:
    done = subprocess.run([image, "--threads", threads], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (2, f"--threads takes a number from 1 to 64, not {threads}\n")


def test_threads_are_of_the_boards_that_the_sentences_name(image: Path, capfd: pytest.CaptureFixture[str]) -> None:
    check = ["check", "gestures-pico", "clap", "--threads", "2", "--board"]
    assert execute([*check, "mps2-an386"]) == 2
    assert "mps2-an386 has one core: --threads is for boards that run Linux" in capfd.readouterr().err
    assert execute([*check, "host", "--provider", "cpu"]) == 0
    assert execute([*check, "sim", "--device", "tcp://127.0.0.1:9"]) == 2
    assert "an agent is started with its own --threads" in capfd.readouterr().err
    agent = subprocess.Popen([image, "--threads", "2", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
    try:
        assert agent.stdout is not None
        with Device.open(agent.stdout.readline().strip()) as device:
            assert device.hello.board == "sim"
    finally:
        agent.kill()
        agent.communicate()
