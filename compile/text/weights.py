"""Constants as data: weights.bin, which the assembler takes as it lies, and weights.c, which says what is where."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .c_text import NOTICE, constant_symbol

ALIGN = 16  # of each constant, and of the whole
TAG_BYTES = 16  # in front: the first bytes of the SHA-256 of the rest
TAG = constant_symbol("tag")

_FILE = """\
/* The constants are in weights.bin, in the order of model_internal.h, each at a multiple of {align} bytes,
 * little-endian, behind {tag_bytes} bytes that `encode` compares, the first of the SHA-256 of the rest:
 * {tag}.
 * The assembler finds the file in this folder, which the compiler is told by -I. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "weights.bin is little-endian"
#endif

__asm__(".pushsection .rodata.{name}, \\"a\\", %progbits\\n"
        ".balign {align}\\n"
        "{name}:\\n"
        ".incbin \\"weights.bin\\", 0, {bytes}\\n"
        ".popsection");
"""
_SYMBOL = '__asm__(".global {name}\\n.type {name}, %object\\n.size {name}, {bytes}\\n.set {name}, {begin} + {at}");\n'


@dataclass(frozen=True)
class Weights:
    """`blob`: weights.bin. `source`: weights.c. `check`: lines for the start of a function that uses the constants."""

    blob: bytes
    source: str
    check: tuple[str, ...]


def weights(constants: Mapping[str, NDArray[Any]]) -> Weights:
    """Lay constants out, one after the other. An empty one is an element of zero, as C knows no empty arrays."""
    pieces: list[memoryview | bytes] = []
    places: dict[str, tuple[int, int]] = {}
    digest = hashlib.sha256()
    end = TAG_BYTES
    for name, array in constants.items():
        full = array if array.size else np.zeros(1, array.dtype)
        data = np.ascontiguousarray(full, full.dtype.newbyteorder("<")).reshape(-1).view(np.uint8).data
        places[constant_symbol(name)] = (end, len(data))
        padding = bytes(-len(data) % ALIGN)
        for piece in (data, padding):
            pieces.append(piece)
            digest.update(piece)
        end += len(data) + len(padding)
    tag = digest.digest()[:TAG_BYTES]
    begin = constant_symbol("begin")
    symbols = {TAG: (0, TAG_BYTES), **places}
    source = _FILE.format(name=begin, align=ALIGN, tag_bytes=TAG_BYTES, tag=tag.hex(), bytes=end)
    source += "".join(_SYMBOL.format(name=n, bytes=size, begin=begin, at=at) for n, (at, size) in symbols.items())
    check = (
        f"    if ({TAG}[0] != 0x{int.from_bytes(tag[:4], 'little'):08x}u) {{",
        "        return SP_ERR_FORMAT; /* weights.bin is of another compilation */",
        "    }",
    )
    return Weights(b"".join([tag, *pieces]), f"{NOTICE}{source}", check)
