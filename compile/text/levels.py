"""Kernels in several versions, for what a machine's vector units may be, chosen when the model runs.

kernels.c is compiled once as the compiler's flags say, and once more for each level by a file that includes it; a table
of functions for each is what the executor calls by. Where the flags say a level already, and on other machines than
x86-64, its file is empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from .c_text import NOTICE

#: The features of each level, lowest first; a machine without all of them takes a lower one.
LEVELS: dict[str, tuple[str, ...]] = {
    "avx2": ("avx2", "fma"),
    "avx512": ("avx2", "fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni"),
}
_HERE = "defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)"

_FILE = """\
{notice}/* The kernels for machines that have {features}. */
#if {here} && !defined(__{last}__)
#pragma GCC target("{joined}")
#define SP_K_SET sp_kernels_{level}
#include "kernels.c"
#else
typedef int sp_k_nothing; /* the compiler has these already, or has not heard of them */
#endif
"""


def level_files(levels: Sequence[str]) -> dict[str, str | bytes]:
    """The files beside kernels.c by name."""
    files: dict[str, str | bytes] = {}
    for level in levels:
        features = LEVELS[level]
        files[f"kernels_{level}.c"] = _FILE.format(
            notice=NOTICE,
            features=", ".join(features),
            here=_HERE,
            last=level.upper() if level == "avx2" else features[-1].upper(),
            joined=",".join(features),
            level=level,
        )
    return files


def declarations(signatures: Mapping[str, str], levels: Sequence[str]) -> list[str]:
    """For model_internal.h, each without its semicolon: the kernels, or a table of them. signatures: by name."""
    if not levels:
        return list(signatures.values())
    members = "".join(f"    {_pointer(name, text)};\n" for name, text in signatures.items())
    return [
        f"typedef struct sp_kernels {{\n{members}}} sp_kernels_t",
        "extern const sp_kernels_t sp_kernels",
        *(f"extern const sp_kernels_t sp_kernels_{level} __attribute__((weak))" for level in levels),
    ]


def _pointer(name: str, signature: str) -> str:
    return signature.replace(f" {name}(", f" (*{name})(", 1)


def bodies(definitions: Iterable[str], names: Iterable[str], levels: Sequence[str]) -> list[str]:
    """For kernels.c: the functions, and the table of them."""
    if not levels:
        return list(definitions)
    table = "".join(f"    {name},\n" for name in names)
    return [
        *(f"static {text}" for text in definitions),
        f"#ifndef SP_K_SET\n#define SP_K_SET sp_kernels\n#endif\nconst sp_kernels_t SP_K_SET = {{\n{table}}};\n",
    ]


def chooser(levels: Sequence[str]) -> str:
    """For model.c: the function that chooses; nothing without levels."""
    if not levels:
        return ""
    choices = "".join(
        f"    if (SP_K_LEVEL >= {number} && &sp_kernels_{level}{_asked(LEVELS[level])}) {{\n"
        f"        return &sp_kernels_{level};\n    }}\n"
        for number, level in reversed(list(enumerate(levels, 1)))
    )
    return (
        f"/* The highest level that is tried: 0 for kernels.c alone. */\n#ifndef SP_K_LEVEL\n"
        f"#define SP_K_LEVEL {len(levels)}\n#endif\n\n"
        "/* The kernels for the vector units of this machine. */\n"
        f"static const sp_kernels_t *kernels(void)\n{{\n#if {_HERE}\n{choices}#endif\n    return &sp_kernels;\n}}\n"
    )


def _asked(features: Iterable[str]) -> str:
    return "".join(f'\n        && __builtin_cpu_supports("{feature}")' for feature in features)


def chosen(levels: Sequence[str]) -> list[str]:
    """The line in front of calls."""
    return ["    const sp_kernels_t *const k = kernels();"] if levels else []


def called(levels: Sequence[str]) -> str:
    """What stands in front of a kernel's name where it is called."""
    return "k->" if levels else ""
