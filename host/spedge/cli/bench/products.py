"""spedge bench products: what products cost on aarch64, beside loops in C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from spedge.cli.common import JsonOption, print_json, progress, show, table

if TYPE_CHECKING:
    from spedge.compile.measure.products import Cost, ProductCost

_NAMES = {"baseline": "NEON", "dotprod": "dot product"}
_SIZES = ("nano", "tiny", "small", "base")


def products(
    size: Annotated[
        str | None,
        typer.Option(help="pico, nano, tiny, small or base; all from nano on when not given.", show_default=False),
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, help="Rows of a product, without CLS.")] = 128,
    as_json: JsonOption = False,
) -> None:
    """Products of an encoder by our kernels for 64-bit Arm, beside loops in C that GCC vectorises with -O3.

    For each multiply-accumulate: instructions, counted by qemu-aarch64, and cycles that LLVM's models of cores predict.
    """
    from spedge.base.errors import UsageError
    from spedge.boards.build import require_tvm
    from spedge.training.presets.base import SIZES

    if size is not None and size not in SIZES:
        raise UsageError(f"There is no size {size!r}. Choose one of: {', '.join(SIZES)}.")
    require_tvm()
    from spedge.bench.machine import load_machine
    from spedge.compile.measure.products import SCHEMA, count_products, encoder_products

    shapes = {name: encoder_products(*SIZES[name][:2]) for name in ([size] if size else _SIZES)}
    with progress("Counting instructions of products"):
        every = [shape for of_size in shapes.values() for shape in of_size]
        counted = count_products(load_machine("jetson"), tokens + 1, every)
    if as_json:
        print_json({"schema": SCHEMA, "products": [one.to_json() for one in counted]})
    else:
        _print(counted)


def _print(counted: list[ProductCost]) -> None:
    cores = list(counted[0].kernel.predicted_cycles)
    numbers = ("instructions", "a loop's", "ratio", *(f"predicted cycles of {core}, and a loop's" for core in cores))
    listing = table("", "precision", "by", "product", *numbers, right=numbers)
    for one in counted:
        listing.add_row(
            one.precision,
            _NAMES[one.vectors],
            f"{one.rows} x {one.depth} x {one.columns}",
            f"{one.kernel.instructions:.3f}",
            f"{one.loop.instructions:.3f}",
            f"{one.ratio:.2f}",
            *(f"{_cycles(one.kernel, core)} {_cycles(one.loop, core)}" for core in cores),
        )
    show(listing)


def _cycles(cost: Cost, core: str) -> str:
    cycles = cost.predicted_cycles.get(core)
    return "-" if cycles is None else f"{cycles:.3f}"
