"""The deepest stack, from the instructions of an image."""

from __future__ import annotations

from pathlib import Path

import pytest

from spedge.boards.manifest import load_board
from spedge.boards.stack import StackError, deepest, worst_stack
from spedge.cli.build import describe_report

ARM = """
00000010 <reset_handler>:
  10:\tpush\t{r3, lr}
  12:\tbl\t30 <main>
  16:\tldr\tr3, [pc, #0]
  18:\t.word\t0x00000040

00000030 <main>:
  30:\tstmdb\tsp!, {r4, r5, r6, r7, lr}
  34:\tvpush\t{d8-d11}
  38:\tsub\tsp, #24
  3a:\tbl\t50 <shallow>
  3e:\tb.w\t60 <deep.constprop.0>

00000050 <shallow>:
  50:\tstr.w\tlr, [sp, #-4]!
  54:\tbx\tlr

00000060 <deep.constprop.0>:
  60:\tmovw\tip, #1040\t@ 0x410
  64:\tsub.w\tsp, sp, ip
  68:\tbne.n\t64 <deep.constprop.0+0x4>
  6a:\tbx\tlr

00000070 <handler>:
  70:\tpush\t{r4, lr}
  72:\tbx\tlr
"""
MAIN = 8 + 20 + 32 + 24


def test_the_deepest_chain_of_a_cortex_m() -> None:
    stack = deepest(ARM, 0x10)
    assert stack.bytes == MAIN + 1040
    assert stack.chain == ("reset_handler", "main", "deep.constprop.0")


def test_an_interrupt_comes_on_top() -> None:
    stack = deepest(ARM, 0x10, frozenset({0x70, 0x50}))
    assert stack.bytes == MAIN + 1040 + 108 + 8
    assert stack.chain[-1] == "handler"


def test_a_cortex_m0_takes_much_by_a_literal_and_calls_what_is_far_by_veneers() -> None:
    text = """
10000100 <reset_handler>:
10000100:\tpush\t{r4, lr}
10000102:\tldr\tr4, [pc, #16]\t@ (10000120 <reset_handler+0x20>)
10000104:\tadd\tsp, r4
10000106:\tbl\t10000130 <__in_ram_veneer>
1000010a:\tmovs\tr3, #137\t@ 0x89
1000010c:\tlsls\tr3, r3, #2
1000010e:\tadd\tsp, r3
10000110:\tpop\t{r4, pc}
10000120:\t.word\t0xfffffddc

10000130 <__in_ram_veneer>:
10000130:\tpush\t{r0}
10000132:\tbx\tip

20000000 <in_ram>:
20000000:\tpush\t{r4, r5, lr}
20000002:\tbx\tlr
"""
    assert deepest(text, 0x10000100).bytes == 8 + 548 + 4 + 12
    with pytest.raises(StackError, match=r"no constant size \(add sp, r4\)"):
        deepest(text.replace("ldr\tr4", "ldr\tr5"), 0x10000100)


def test_risc_v_and_its_millicode() -> None:
    text = (
        "80000000 <link_image_start>:\n80000000:\tj\t80000010 <prepare>\n"
        "80000010 <prepare>:\n80000010:\tadd\tsp,sp,-16\n80000012:\tjal\tt0,80000040 <__riscv_save_0>\n"
        "80000016:\tauipc\tra,0x0\n8000001a:\tjalr\t20(ra) # 80000030 <leaf>\n8000001e:\tjr\ta5\n"
        "80000020:\tj\t80000050 <__riscv_restore_0>\n"
        "80000030 <leaf>:\n80000030:\taddi\tsp,sp,-48\n80000032:\tret\n"
        "80000040 <__riscv_save_0>:\n80000040:\tadd\tsp,sp,-32\n80000042:\tjr\tt0\n"
        "80000050 <__riscv_restore_0>:\n80000050:\tadd\tsp,sp,32\n80000052:\tret\n"
    )
    stack = deepest(text, 0x80000000)
    assert (stack.bytes, stack.chain) == (16 + 32 + 48, ("link_image_start", "prepare", "leaf"))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("bl\t50 <shallow>", "bl\t10 <reset_handler>"), "reset_handler calls itself, by reset_handler and main"),
        (("bl\t50 <shallow>", "blx\tr3"), "main calls by a pointer, and spedge does not know whom"),
        (
            ("movw\tip, #1040", "ldr\tip, [pc]"),
            r"has a frame of no constant size \(sub.w sp, sp, ip\)",
        ),
        (("00000010 <reset_handler>", "00000012 <reset_handler>"), "there is no function where the image begins"),
    ],
)
def test_what_has_no_bound(change: tuple[str, str], says: str) -> None:
    with pytest.raises(StackError, match=says):
        deepest(ARM.replace(*change), 0x10)


def test_a_pointer_leads_to_what_may_be_there() -> None:
    """Two functions of the same name in two files, and one that a compiler has copied."""
    text = ARM.replace("<main>", "<sp_tokenizer_push>").replace("bl\t50 <shallow>", "blx\tr4")
    for name in ("push", "push_16.isra.0"):
        stack = deepest(text.replace("<shallow>", f"<{name}>").replace("str.w\tlr, [sp, #-4]!", "sub\tsp, #2000"), 0x10)
        assert (stack.bytes, stack.chain[-1]) == (MAIN + 2000, name)


def test_boards_with_an_operating_system_have_none(tmp_path: Path) -> None:
    assert worst_stack(load_board("sim"), tmp_path / "absent") is None


def test_the_report_in_lines() -> None:
    document = {
        "flash_bytes": 630000, "flash_limit": 1048576, "model_flash_bytes": 537148, "ram_bytes": 17264,
        "ram_limit": 327680, "arena_bytes": 105552, "stack_bytes": 1652, "stack_chain": ["reset_handler", "main"],
    }  # fmt: skip
    assert describe_report(document).splitlines() == [
        "flash       630,000 of 1,048,576 bytes, 537,148 of them the model's",
        "static RAM  17,264 of 327,680 bytes",
        "arena       105,552 bytes of what is left",
        "stack       at most 1,652 bytes: reset_handler, main",
    ]
    bare = document | {"model_flash_bytes": None, "arena_bytes": None, "stack_bytes": None}
    assert len(describe_report(bare).splitlines()) == 2
