"""An ELF file of 32 bits with one segment and the linker's symbols, written out by hand."""

from __future__ import annotations

import struct
from pathlib import Path

_ARM = 40
_EHDR, _PHDR, _SHDR = 52, 32, 40


def write_elf(path: Path, data: bytes, address: int, symbols: dict[str, int] | None = None) -> Path:
    """data at `address`; symbols: None for those of an image that begins and ends with it."""
    named = {"link_image_start": address, "link_image_end": address + len(data)} if symbols is None else symbols
    names = b"\0"
    table = bytes(16)
    for name, value in named.items():
        table += struct.pack("<IIIBBH", len(names), value, 0, 0x10, 0, 0xFFF1)
        names += name.encode() + b"\0"
    sections = b"\0.symtab\0.strtab\0.shstrtab\0"
    at_data = _EHDR + _PHDR
    at_table = at_data + len(data)
    at_names = at_table + len(table)
    at_sections = at_names + len(names)
    at_headers = at_sections + len(sections)
    head = b"\x7fELF\x01\x01\x01".ljust(16, b"\0") + struct.pack(
        "<HHIIIIIHHHHHH", 2, _ARM, 1, address, _EHDR, at_headers, 0x5000400, _EHDR, _PHDR, 1, _SHDR, 4, 3
    )
    segment = struct.pack("<8I", 1, at_data, address, address, len(data), len(data), 5, 4)
    headers = bytes(_SHDR)
    headers += struct.pack("<10I", 1, 2, 0, 0, at_table, len(table), 2, 1, 4, 16)
    headers += struct.pack("<10I", 9, 3, 0, 0, at_names, len(names), 0, 0, 1, 0)
    headers += struct.pack("<10I", 17, 3, 0, 0, at_sections, len(sections), 0, 0, 1, 0)
    path.write_bytes(head + segment + data + table + names + sections + headers)
    return path
