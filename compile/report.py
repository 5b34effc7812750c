"""What a compilation says about its result."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

SCHEMA = 2


@dataclass(frozen=True)
class KernelReport:
    """One kernel call of the encoder: which value it computes, how often, and its multiply-accumulates.

    `calls` and `macs` are for all tokens present.
    """

    kernel: str
    computes: str
    calls: int
    macs: int


@dataclass(frozen=True)
class CompileReport:
    """The compiled model.

    `parameters`: how the kernels are tiled, as tuned. `outputs`: their shapes by name. `macs`: multiply-accumulates of
    the encoder with all tokens present. `flash_bytes`: constants, split into the encoder's and the embedding's weights
    (code comes on top; the firmware's build reports it). `arena_bytes`: all working memory, the encoder's input
    included; the encoder's part of the stack is small and constant.
    """

    name: str
    bundle_hash: str
    target: str
    precision: str
    flags: tuple[str, ...]
    parameters: dict[str, int | bool]
    tokens: int
    hidden: int
    outputs: dict[str, tuple[int, ...]]
    macs: int
    flash_bytes: int
    encoder_weight_bytes: int
    embedding_weight_bytes: int
    arena_bytes: int
    kernels: tuple[KernelReport, ...]
    versions: dict[str, str]
    files: tuple[str, ...]
    out: Path | None = None

    def to_json(self) -> str:
        """report.json's text: everything but where the folder lies."""
        document = {"schema": SCHEMA, **asdict(self)}
        del document["out"]
        return json.dumps(document, indent=1) + "\n"
