"""Writes docs/memory.md: the RAM of a tokenizer for common sensors, from the C library's own size function."""

from __future__ import annotations

from pathlib import Path

from spedge import _tokenizer

SENSORS = {
    "DVS128": (128, 128),
    "DAVIS346": (346, 260),
    "GENX320": (320, 320),
    "VGA (Gen 3, 4)": (640, 480),
    "IMX636": (1280, 720),
}
#: name, patch size, threshold, absolute refractory period in µs: the settings of the paper's models
SETTINGS = [
    ("transformer", 16, 256.0, 0),
    ("GEN1 transformer", 16, 250.0, 25_000),
    ("GNN", 8, 25.0, 0),
    ("PCN", 4, 20.0, 0),
]
HEAD = """# RAM of a tokenizer

Bytes that `sp_tokenizer_size` asks for on a 64-bit host (some 100 bytes less on a 32-bit device), written by
`tools/memory_table.py` and compared with the library by the tests. *State* is what patches take; a pending event
takes 4 bytes of the pool and each block of 16 events 12 more. *Never full* is with a pool for every patch being
one event short of its threshold; a patch whose events wait over an epoch's end (2^23 us) may take a block more.

| sensor | settings | patches | state | with a pool of 16,384 events | never full |
|---|---|--:|--:|--:|--:|
"""


def table() -> str:
    lines = []
    for sensor, (width, height) in SENSORS.items():
        for name, patch, threshold, absolute in SETTINGS:
            patches = -(-width // patch) * -(-height // patch)

            def size(
                pool: int, of: tuple[int, int, int, float, int] = (width, height, patch, threshold, absolute)
            ) -> int:
                return _tokenizer.tokenizer_size(*of, pool)

            block = size(32) - size(16)
            most = patches * -(-int(threshold) // 16) * 16
            lines.append(
                f"| {sensor} {width}x{height} | {name}: P={patch}, {threshold:g}"
                f"{f', {absolute // 1000} ms' if absolute else ''} | {patches:,} | {size(16) - block:,} "
                f"| {size(16384):,} | {size(most):,} |"
            )
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    (Path(__file__).resolve().parents[1] / "docs/memory.md").write_text(table())
