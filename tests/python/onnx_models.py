"""Many compiled ONNX models together: their C made one file, built once; here they are run by ctypes."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spedge.base.paths import firmware_dir

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-fno-math-errno", "-O0")
SOURCES = ("weights.c", "kernels.c", "model.c")

# Runs one model on an arena that is filled with what no number is, and looks at the bytes around it afterwards.
DRIVER = """
enum { GUARD = 256 };

int run(int model, const float *input, uint32_t floats, float *output, uint32_t outputs);
int run(int model, const float *input, uint32_t floats, float *output, uint32_t outputs)
{
    const sp_model_t *const m = models[model];
    unsigned char *const block = malloc(m->arena_bytes + 2u * GUARD + 16u);
    unsigned char *const arena = block + GUARD + (16u - (uintptr_t)block % 16u) % 16u;
    int code = m->output_count == 1 && m->outputs[0].size == outputs ? 0 : 100;
    memset(arena - GUARD, 0xa5, m->arena_bytes + 2u * GUARD);
    memset(arena, 0xff, m->arena_bytes);
    memcpy(arena + m->input_offset, input, floats * sizeof(float));
    if (code == 0) {
        code = m->encode(arena, m->tokens);
        memcpy(output, sp_model_output(arena, &m->outputs[0]), outputs * sizeof(float));
    }
    for (int i = 0; i < GUARD; ++i) {
        code = arena[i - GUARD] != 0xa5 || arena[m->arena_bytes + (uint32_t)i] != 0xa5 ? 101 : code;
    }
    free(block);
    return code;
}
"""


class Library:
    """Generated folders by label, built together. `broken`: what the compiler says of those that do not build."""

    def __init__(self, folders: Mapping[str, Path], work: Path, flags: Sequence[str] = FLAGS) -> None:
        self.broken: dict[str, str] = {}
        self.labels = list(folders)
        while self.labels:
            (work / "models.c").write_text(source_of({label: folders[label] for label in self.labels}) + DRIVER)
            include = [f"-I{firmware_dir() / part / 'include'}" for part in ("lib", "runtime")]
            command = ["cc", *flags, *include, "-shared", "-fPIC", str(work / "models.c"), "-lm"]
            done = subprocess.run(
                [*command, "-o", str(work / "models.so")], capture_output=True, text=True, check=False
            )
            if done.returncode == 0:
                break
            found = re.findall(r"^(.*?):\d+:\d+: error: (.*)$", done.stderr, re.MULTILINE)
            wrong = {label: text for label, text in reversed(found) if label in self.labels}
            assert wrong, done.stderr[:2000]
            self.broken |= wrong
            self.labels = [label for label in self.labels if label not in wrong]
        self._library = ctypes.CDLL(str(work / "models.so")) if self.labels else None

    def run(self, label: str, given: NDArray[np.float32], outputs: int) -> NDArray[np.float32]:
        """What a model writes, flat."""
        assert self._library is not None
        x = np.ascontiguousarray(given, np.float32)
        y = np.full(max(outputs, 1), np.nan, np.float32)
        pointer = ctypes.POINTER(ctypes.c_float)
        code = self._library.run(
            self.labels.index(label), x.ctypes.data_as(pointer), x.size, y.ctypes.data_as(pointer), outputs
        )
        assert code == 0, f"{label}: encode says {code}"
        return y[:outputs]


def source_of(folders: Mapping[str, Path]) -> str:
    """One file of all models, which end in a table `models`; what has the same name in each gets a number."""
    parts = [
        "#define _POSIX_C_SOURCE 200809L\n#include <stdbool.h>\n#include <stdlib.h>\n#include <string.h>\n"
        '#pragma GCC optimize("fp-contract=fast")\n'
        '#include "spedge/kernel_math.h"\n#include "spedge/model.h"\n'
    ]
    for i, (label, folder) in enumerate(folders.items()):
        declared = (folder / "model_internal.h").read_text()
        names = "|".join(
            [
                "sp_model",
                r"(?<!\.)encode",
                r"AT_\w+",
                r"sp_w_\w+",
                r"shape_0",
                r"(?<!\.)outputs(?=[\[,])",
                *re.findall(r"sp_k_\w+(?=\()", declared),
            ]
        )
        text = declared + "".join((folder / name).read_text() for name in SOURCES)
        text = re.sub(r"^#.*$", "", text, flags=re.MULTILINE)  # what they include is included once
        text = text.replace('\\"weights.bin\\"', f'\\"{folder / "weights.bin"}\\"')
        parts.append(f'#line 1 "{label}"\n' + re.sub(rf"\b({names})\b", rf"\1_{i}", text))
    table = ", ".join(f"&sp_model_{i}" for i in range(len(folders)))
    parts.append(f'#line 1 "driver"\nstatic const sp_model_t *const models[] = {{{table}}};\n')
    return "\n".join(parts)
