"""The targets that spedge compiles for, and the schedule parameters of each."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from spedge.base.errors import UsageError

Parameters = dict[str, int | bool]

#: Fields of Target that `spedge compile --tune` searches.
TUNABLE = ("rows", "columns", "unroll", "single_columns", "panels")
TUNED_SCHEMA = 1
_TUNED = Path(__file__).parent / "tuned"


@dataclass(frozen=True)
class Target:
    """One target: how to build its C, and how its kernels are tiled.

    A linear kernel keeps `rows` x `columns` sums in registers and unrolls `unroll` steps of the
    reduction; `single_columns` is the tile's width where only one row is computed. `defines` are what
    kernel_math.h is told of the core. `flags` are those of `compiler` (which Debian's `packages` bring), for
    README and report; the code itself is plain C99 on every target.
    """

    name: str
    description: str
    flags: tuple[str, ...]
    rows: int
    columns: int
    unroll: int
    single_columns: int
    defines: tuple[str, ...] = ()
    compiler: str = "cc"
    packages: tuple[str, ...] = ("gcc", "libc6-dev")
    panels: bool = False  # sixteen sums in registers: tiles of 4 x 4 by kernel_panel.h
    int8_vectors: bool = False  # sixteen products of bytes at once: kernel_int8_vector.h
    integers: bool = False  # no FPU: products by kernel_fixed.h
    vectors: bool = False  # wide vectors of floats: tiles by kernel_vector.h
    triple: str = ""  # LLVM's name of the instruction set, and of its cores that cycles are predicted of
    cores: tuple[str, ...] = ()
    call_bytes: int = 0  # of stack that a call takes beside the frames: return address, red zone

    @property
    def parameters(self) -> Parameters:
        """What can be tuned."""
        return {name: getattr(self, name) for name in TUNABLE}


_ARM_PACKAGES = ("gcc-arm-none-eabi", "libnewlib-arm-none-eabi")
_STRICT = ("-O3", "-fno-math-errno", "-ffp-contract=off")
_CORTEX_M = ("-mthumb", "-mfloat-abi=hard", *_STRICT)

TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "cortex-m7",
            "Arm Cortex-M7 with single-precision FPU (STM32H7, STM32F7, i.MX RT, mps2-an500)",
            ("-mcpu=cortex-m7", "-mfpu=fpv5-sp-d16", *_CORTEX_M),
            rows=4,
            columns=4,
            unroll=16,
            single_columns=8,
            panels=True,
            defines=("SP_K_FAST_MAX",),
            compiler="arm-none-eabi-gcc",
            packages=_ARM_PACKAGES,
            triple="thumbv7em-none-eabihf",
            cores=("cortex-m7",),
        ),
        Target(
            "cortex-m4",
            "Arm Cortex-M4F (STM32F4, nRF52, mps2-an386)",
            ("-mcpu=cortex-m4", "-mfpu=fpv4-sp-d16", *_CORTEX_M),
            rows=4,
            columns=4,
            unroll=16,
            single_columns=8,
            panels=True,
            compiler="arm-none-eabi-gcc",
            packages=_ARM_PACKAGES,
            triple="thumbv7em-none-eabihf",
            cores=("cortex-m4",),
        ),
        Target(
            "cortex-m55",
            "Arm Cortex-M55 with vector instructions (MVE: mps3-an547, Alif Ensemble)",
            ("-mcpu=cortex-m55", *_CORTEX_M),
            rows=4,
            columns=4,
            unroll=16,
            single_columns=8,
            panels=True,
            int8_vectors=True,
            defines=("SP_K_FAST_MAX",),
            compiler="arm-none-eabi-gcc",
            packages=_ARM_PACKAGES,
            triple="thumbv8.1m.main-none-eabihf",
            cores=("cortex-m55",),
        ),
        Target(
            "cortex-m0plus",
            "Arm Cortex-M0+ without an FPU (RP2040, mps2-m0plus)",
            ("-mcpu=cortex-m0plus", "-mthumb", "-mfloat-abi=soft", *_STRICT),
            rows=4,
            columns=4,
            unroll=4,
            single_columns=4,
            panels=True,
            integers=True,
            compiler="arm-none-eabi-gcc",
            packages=_ARM_PACKAGES,
            triple="thumbv6m-none-eabi",
            cores=("cortex-m0plus",),
        ),
        Target(
            "rv32",
            "32-bit RISC-V with single-precision FPU (RV32IMAFC, QEMU virt)",
            ("-march=rv32imafc", "-mabi=ilp32f", "-mcmodel=medany", "-specs=picolibc.specs", *_STRICT),
            rows=5,
            columns=4,
            unroll=16,
            single_columns=8,
            compiler="riscv64-unknown-elf-gcc",
            packages=("gcc-riscv64-unknown-elf", "picolibc-riscv64-unknown-elf"),
        ),
        Target(
            "aarch64",
            "64-bit Arm Linux (Jetson, Raspberry Pi)",
            _STRICT,
            rows=4,
            columns=8,
            unroll=4,
            single_columns=16,
            vectors=True,
            compiler="aarch64-linux-gnu-gcc",
            packages=("gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"),
            triple="aarch64-linux-gnu",
            cores=("cortex-a57", "cortex-a78"),
        ),
        Target(
            "native",
            "Linux on machines like the one that compiles it (board sim, tests)",
            _STRICT,
            rows=4,
            columns=8,
            unroll=4,
            single_columns=16,
            vectors=True,
            call_bytes=8 + 128,
        ),
    )
}


def find_target(name: str, precision: str = "fp32") -> Target:
    """The target of that name, with the parameters that tuning found for the precision if it has been tuned.

    UsageError lists the known ones, or names a tuned/*.json that cannot be used.
    """
    if name not in TARGETS:
        known = ", ".join(TARGETS)
        raise UsageError(f"unknown target {name!r}: choose one of {known}")
    found = read_tuned(name).get(precision, {}).get("parameters", {})
    return replace(TARGETS[name], **found)


def tuned_path(target: str, folder: Path | None = None) -> Path:
    """Where a target's tuned parameters are kept."""
    return (folder or _TUNED) / f"{target}.json"


def read_tuned(target: str, folder: Path | None = None) -> dict[str, Any]:
    """What is kept of a target by precision: its "parameters" and how they were found. Empty when nothing is."""
    path = tuned_path(target, folder)
    if not path.is_file():
        return {}
    try:
        document: dict[str, Any] = json.loads(path.read_text())
        if document.pop("schema") != TUNED_SCHEMA:
            raise ValueError("another schema")
        for entry in document.values():
            for name, value in entry["parameters"].items():
                if name not in TUNABLE or not isinstance(value, int) or not 0 <= value <= 64:
                    raise ValueError(f"no target has {name} = {value!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} cannot be used ({error}): tune again after deleting it") from error
    return document
