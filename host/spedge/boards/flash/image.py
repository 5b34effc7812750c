"""An image as bytes at an address, and as the files that other tools take: .bin, .hex (Intel HEX) and .uf2."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from spedge.base.errors import InputError, line_of

_UF2_MAGIC = (0x0A324655, 0x9E5D5157, 0x0AB16F30)
_UF2_FAMILY_PRESENT = 0x2000
_UF2_BYTES = 256  # of each block of 512; what all bootloaders take
_ELF_MAGIC = b"\x7fELF"
_MOST_BYTES = 64 << 20  # from the first byte to the last; more is not one memory


@dataclass(frozen=True)
class Image:
    """A program: `data` is what lies from `address` on, without a hole."""

    address: int
    data: bytes

    @property
    def crc(self) -> int:
        """CRC-32, as the device tells it (SPEC.md, IMAGE)."""
        return zlib.crc32(self.data)

    @property
    def end(self) -> int:
        return self.address + len(self.data)


def read_elf(path: Path) -> Image:
    """What an ELF file puts into flash: its segments, by their load addresses, zeros between them.

    Raises InputError for a file that is none, or whose segments lie in memories far apart.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    try:
        with path.open("rb") as stream:
            segments = [
                (segment["p_paddr"], segment.data())
                for segment in ELFFile(stream).iter_segments("PT_LOAD")
                if segment["p_filesz"] > 0
            ]
    except (OSError, ELFError) as error:
        raise InputError(f"{path} is not an ELF file that can be read: {line_of(error)}") from error
    if not segments:
        raise InputError(f"{path} holds nothing to be written: is it a program?")
    start = min(address for address, _ in segments)
    end = max(address + len(data) for address, data in segments)
    if end - start > _MOST_BYTES:
        raise InputError(f"{path} is for memories at 0x{start:08x} and 0x{end:08x}: it is not one image")
    whole = bytearray(end - start)
    for address, data in segments:
        whole[address - start : address - start + len(data)] = data
    return Image(start, bytes(whole))


def told_image(path: Path) -> tuple[int, int]:
    """Length and CRC-32 that a device which runs this program tells of it (SPEC.md, IMAGE).

    path: an ELF file for bare metal, with the linker's symbols, or a program of an operating system,
    which is told whole.
    """
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    content = path.read_bytes()
    if content[:4] == _ELF_MAGIC:
        with path.open("rb") as stream:
            table = ELFFile(stream).get_section_by_name(".symtab")
            found = {
                name: symbol[0]["st_value"]
                for name in ("link_image_start", "link_image_end")
                if isinstance(table, SymbolTableSection) and (symbol := table.get_symbol_by_name(name))
            }
        if len(found) == 2:
            start, end = found["link_image_start"], found["link_image_end"]
            image = _piece(path, start, end)
            return len(image), zlib.crc32(image)
    return len(content), zlib.crc32(content)


def _piece(path: Path, start: int, end: int) -> bytes:
    """Bytes of flash between two addresses, zeros where a file has none."""
    from elftools.elf.elffile import ELFFile

    piece = bytearray(end - start)
    with path.open("rb") as stream:
        for segment in ELFFile(stream).iter_segments("PT_LOAD"):
            address, data = segment["p_paddr"], segment.data()
            first, last = max(address, start), min(address + len(data), end)
            if first < last:
                piece[first - start : last - start] = data[first - address : last - address]
    return bytes(piece)


# ---------------------------------------------------------------- files for other tools


def write_outputs(image: Image, folder: Path, stem: str, uf2_family: int | None = None) -> list[Path]:
    """Write `stem`.bin, .hex and, with the family's number, .uf2 into the folder. Returns the files."""
    outputs = {".bin": image.data, ".hex": to_hex(image).encode()}
    if uf2_family is not None:
        outputs[".uf2"] = to_uf2(image, uf2_family)
    paths = []
    for suffix, content in outputs.items():
        paths.append(folder / (stem + suffix))
        paths[-1].write_bytes(content)
    return paths


def to_hex(image: Image) -> str:
    """Intel HEX, 16 bytes a line."""
    lines = []
    upper = -1
    at = image.address
    while at < image.end:
        if at >> 16 != upper:
            upper = at >> 16
            lines.append(_record(0, 4, struct.pack(">H", upper)))
        n = min(16, image.end - at, 0x10000 - (at & 0xFFFF))
        lines.append(_record(at & 0xFFFF, 0, image.data[at - image.address :][:n]))
        at += n
    return "\n".join([*lines, _record(0, 1, b""), ""])


def _record(address: int, kind: int, data: bytes) -> str:
    body = struct.pack(">BHB", len(data), address, kind) + data
    return ":" + (body + bytes([-sum(body) & 0xFF])).hex().upper()


def to_uf2(image: Image, family: int) -> bytes:
    """UF2: blocks of 512 bytes, each with 256 of the image and where they go; the last is filled up with zeros.

    family: the chip's number in the list of the format's keepers.
    """
    pieces = [image.data[at : at + _UF2_BYTES] for at in range(0, len(image.data), _UF2_BYTES)]
    first, second, last = _UF2_MAGIC
    blocks = []
    for number, piece in enumerate(pieces):
        address = image.address + number * _UF2_BYTES
        head = struct.pack("<8I", first, second, _UF2_FAMILY_PRESENT, address, _UF2_BYTES, number, len(pieces), family)
        blocks.append(head + piece.ljust(476, b"\0") + struct.pack("<I", last))
    return b"".join(blocks)


def from_uf2(content: bytes) -> Image:
    """The image of a UF2 file whose blocks follow one another. Raises InputError for another one."""
    data = bytearray()
    address = 0
    for at in range(0, len(content), 512):
        block = content[at : at + 512]
        if len(block) < 512 or struct.unpack_from("<II", block) != _UF2_MAGIC[:2]:
            raise InputError(f"block {at // 512} of the UF2 file is none")
        _, where, size, number, _, _ = struct.unpack_from("<6I", block, 8)
        address = address if data else where
        if number != at // 512 or where != address + len(data) or size > 476:
            raise InputError(f"block {number} of the UF2 file does not follow the one before")
        data += block[32 : 32 + size]
    return Image(address, bytes(data))
