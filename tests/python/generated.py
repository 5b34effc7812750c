"""Build generated models on the host and run them, to compare with ONNX Runtime."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.objects import rows_objects
from spedge.base.paths import firmware_dir
from spedge.model.bundle import Bundle

WARNINGS = ("-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

# Runs the cases on stdin (count, rows) and writes the logits of each. Before every case the arena is filled with
# NaNs: what is not written must not be used. Guards around it must stay; under AddressSanitizer there are none, so
# that the arena has exactly the size that the model asks for.
DRIVER = """
#include "model.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef __SANITIZE_ADDRESS__
enum { GUARD = 0 };
#else
enum { GUARD = 4096 };
#endif

int main(void)
{
    unsigned char *block = aligned_alloc(16, sp_model.arena_bytes + 2u * GUARD);
    unsigned char *arena = block + GUARD;
    uint32_t count;
    if (block == NULL || sp_model.arena_bytes != SP_MODEL_ARENA_BYTES) {
        return 2;
    }
    while (fread(&count, sizeof count, 1, stdin) == 1) {
        const size_t floats = (size_t)count * sp_model.embed.hidden;
        memset(block, 0xa5, sp_model.arena_bytes + 2u * GUARD);
        memset(arena, 0xff, sp_model.arena_bytes);
        if (count <= sp_model.tokens
            && fread(arena + sp_model.input_offset, sizeof(float), floats, stdin) != floats) {
            return 3;
        }
        if (sp_model.encode(arena, count) != SP_OK) {
            return 4;
        }
        for (int i = 0; i < GUARD; ++i) {
            if (block[i] != 0xa5 || arena[sp_model.arena_bytes + (uint32_t)i] != 0xa5) {
                return 5;
            }
        }
        fwrite(sp_model_output(arena, &sp_model.outputs[0]), sizeof(float), sp_model.outputs[0].size, stdout);
    }
    free(block);
    return 0;
}
"""


def sources_of(folder: Path, command: Sequence[str]) -> list[str]:
    """What is compiled of a generated folder: its sources, and as objects those that all folders have.

    command: the compiler with its options. These objects are of two kinds alone, with sanitizers and without.
    """
    own = [folder / name for name in ("model.c", "kernels.c", "weights.c")]
    kind = ("-O0", *SANITIZERS) if set(SANITIZERS) <= set(command) else ("-O1",)
    options = [command[0], "-std=c11", *WARNINGS, "-fno-math-errno", "-ffp-contract=off", *kind, "-fPIC"]
    return [*map(str, [*own, *rows_objects(folder, options)]), "-pthread"]


def build_host(folder: Path, flags: Sequence[str] = ("-O1",), compiler: str = "cc") -> Path:
    """The program that runs a generated folder's model on this machine, or where `compiler` compiles for."""
    driver = folder.parent / f"{folder.name}-driver.c"
    driver.write_text(DRIVER)
    program = folder.parent / f"{folder.name}-driver"
    includes = [f"-I{firmware_dir() / part / 'include'}" for part in ("lib", "runtime")]
    options = [compiler, "-std=c11", *WARNINGS, "-fno-math-errno", "-ffp-contract=off", *flags]
    command = [*options, *includes, f"-I{folder}", *sources_of(folder, options), str(driver), "-lm", "-o", str(program)]
    subprocess.run(command, check=True, timeout=300)
    return program


def run_host(program: Path, cases: Sequence[NDArray[np.float32]], classes: int) -> NDArray[np.float32]:
    """Logits [cases, classes] of a built model. cases: rows [count, hidden] each."""
    stdin = b"".join(np.uint32(len(c)).tobytes() + c.astype(np.float32).tobytes() for c in cases)
    done = subprocess.run([str(program)], input=stdin, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return np.frombuffer(done.stdout, np.float32).reshape(len(cases), classes)


def run_reference(bundle: Bundle, cases: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """The same by ONNX Runtime, the rows after the count filled with noise that must not matter."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(bundle.file("encoder.onnx")), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(1)
    logits = []
    for rows in cases:
        tokens = rng.normal(0, 3, (1, bundle.tokens, bundle.token_input.embedding.hidden)).astype(np.float32)
        tokens[0, : len(rows)] = rows
        feeds = {"tokens": tokens, "length": np.array([len(rows)], np.int32)}
        logits.append(session.run(None, feeds)[0][0])
    return np.stack(logits)


def random_cases(bundle: Bundle, counts: Sequence[int], scale: float = 1.5) -> list[NDArray[np.float32]]:
    """Random rows for each count."""
    rng = np.random.default_rng(7)
    return [rng.normal(0, scale, (n, bundle.token_input.embedding.hidden)).astype(np.float32) for n in counts]
