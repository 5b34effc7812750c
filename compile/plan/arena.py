"""Where the buffers lie: one arena, offsets planned over the whole run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from ..kernels.base import LinearKernel, Parameter
from .program import Arg, Buffer, Call, HeadLoop, Item, Phase, Program

ALIGN = 4  # floats: 16 bytes

T = TypeVar("T")


def plan(program: Program) -> tuple[dict[Buffer, int], int]:
    """Offset of every buffer and the size of the arena, in floats.

    Greedy by size: the largest buffers first, each at the lowest place that no buffer in use at the same
    time occupies. Whole results that can take the place of a whole input do.
    """
    share(program)
    spans = {b: (b.floats, *_span(program, b)) for b in program.buffers if b.root is b}
    offsets, size = place(spans, lambda b: b.name)
    return {b: offsets[b.root] for b in program.buffers}, _aligned(size)


def place(spans: Mapping[T, tuple[int, int, int]], name: Callable[[T], str]) -> tuple[dict[T, int], int]:
    """Offset of everything that has a (size, first, last), and the end of the highest; sizes in floats."""
    offsets: dict[T, int] = {}
    placed: list[tuple[int, T]] = []
    for thing in sorted(spans, key=lambda t: (-spans[t][0], spans[t][1:], name(t))):
        size, first, last = spans[thing]
        at = 0
        for start, other in sorted(placed, key=lambda p: p[0]):
            taken, begins, ends = spans[other]
            if ends < first or begins > last:
                continue
            if at + size <= start:
                break
            at = max(at, _aligned(start + taken))
        placed.append((at, thing))
        offsets[thing] = at
    return offsets, max((at + spans[t][0] for at, t in placed), default=0)


def share(program: Program) -> None:
    """Let a whole result take the place of a whole input of its loop, where that changes no value.

    It does not when the input is read block by block (never as keys or values), by nothing after the
    loop, by no call after the first that writes the result, and by the writing call only element by
    element (each element read before it is written).
    """
    for phase in program.phases:
        for result in program.buffers:
            writers = [i for i, item in enumerate(phase.blocks) if result in _written(item)]
            if not result.whole or not writers or result.home is not None:
                continue
            for candidate in program.buffers:
                if candidate is not result and _can_share(program, phase, candidate, result, writers[0]):
                    result.home = candidate
                    break


def _can_share(program: Program, phase: Phase, old: Buffer, new: Buffer, writer: int) -> bool:
    if not old.whole or (old.layout, old.floats) != (new.layout, new.floats):
        return False
    taken = [b for b in program.buffers if b.home is old]
    if taken or new is program.source or not _reads(phase.blocks, old):
        return False
    later = program.phases[program.phases.index(phase) + 1 :]
    others = [*phase.once, *(i for p in later for i in (*p.blocks, *p.once))]
    if _reads(others, old) or any(old in _written(i) for i in (*others, *phase.blocks)):
        return False
    if any(not arg.per_block for _, arg in _reads(phase.blocks, old)):
        return False
    if _reads(phase.blocks[writer + 1 :], old) and not _same_call(phase.blocks, writer, old):
        return False
    return all(_elementwise(call, parameter) for call, parameter in _reading_parameters(phase.blocks[writer], old))


def _same_call(items: list[Item], writer: int, old: Buffer) -> bool:
    """Whether later readers are only the same kernel's tail, which reads the columns that it writes."""
    first = items[writer]
    assert isinstance(first, Call)
    return all(
        isinstance(item, Call)
        and item.what == first.what
        and all(_elementwise(call, parameter) for call, parameter in _reading_parameters(item, old))
        for item in items[writer + 1 :]
        if _reads([item], old)
    )


def _elementwise(call: Call, parameter: Parameter) -> bool:
    """A linear reads its whole row for every tile; all else reads an element before writing it."""
    return not (isinstance(call.kernel, LinearKernel) and parameter.name == "x")


def _calls(item: Item) -> tuple[Call, ...]:
    return item.calls if isinstance(item, HeadLoop) else (item,)


def _reading_parameters(item: Item, buffer: Buffer) -> list[tuple[Call, Parameter]]:
    return [
        (call, parameter)
        for call in _calls(item)
        for parameter, arg in zip(call.kernel.parameters, call.args, strict=True)
        if arg.buffer is buffer and parameter.kind != "out"
    ]


def _reads(items: list[Item], buffer: Buffer) -> list[tuple[Call, Arg]]:
    return [
        (call, arg)
        for item in items
        for call in _calls(item)
        for parameter, arg in zip(call.kernel.parameters, call.args, strict=True)
        if arg.buffer is buffer and parameter.kind != "out"
    ]


def _written(item: Item) -> set[Buffer]:
    return {
        arg.buffer
        for call in _calls(item)
        for parameter, arg in zip(call.kernel.parameters, call.args, strict=True)
        if parameter.kind != "in" and arg.buffer is not None
    }


def _span(program: Program, root: Buffer) -> tuple[int, int]:
    family = [b for b in program.buffers if b.root is root]
    return min(b.first for b in family), max(b.last for b in family)


def _aligned(floats: int) -> int:
    return -(-floats // ALIGN) * ALIGN
