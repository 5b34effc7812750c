"""Sources of others that a port is built with: fetched once, and nothing else is taken than what is meant."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from spedge.boards import parts
from spedge.boards.manifest import list_boards, load_board
from spedge.boards.parts import Part, parts_of, provide
from spedge.boards.platformio import BuildError

A_C = "./usr/src/thing/src/a.c"
FILES = {
    A_C: b"int a;\n",
    "./usr/src/thing/src/b/c.h": b"",
    "./usr/share/doc/thing/README": b"no",
}


def package(files: dict[str, bytes], data: bytes = b"data.tar.xz") -> bytes:
    """A Debian package of these files."""
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w:xz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    whole = b"!<arch>\n"
    for kind, content in ((b"debian-binary", b"2.0\n"), (b"odd", b"x"), (data, tar.getvalue())):
        whole += kind.ljust(16) + b"0".ljust(12) + b"0".ljust(6) * 2 + b"100644".ljust(8)
        whole += str(len(content)).encode().ljust(10) + b"`\n" + content + b"\n" * (len(content) % 2)
    return whole


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Part:
    """One that no mirror has, in an empty cache, on a machine without apt."""
    content = package(FILES)
    thing = Part("thing", "1.0", "pool/t/thing_1.0.deb", hashlib.sha256(content).hexdigest(), "usr/src/thing/src")
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(parts, "parts_of", lambda board: [thing])
    return thing


def put(cache: Path, content: bytes) -> Path:
    path = cache / "downloads/thing_1.0.deb"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_package_that_lies_in_the_cache_is_enough(part: Part, tmp_path: Path) -> None:
    said: list[str] = []
    path = put(tmp_path, package(FILES))
    folder = provide(load_board("sim"), said.append)["thing"]
    assert said == ["Fetching thing 1.0"] and part.present
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.*")) == ["a.c", "b/c.h"]
    assert (folder / "a.c").read_bytes() == b"int a;\n"
    path.unlink()  # what is unpacked needs it no more
    assert provide(load_board("sim"), said.append) == {"thing": folder} and len(said) == 1


def test_without_a_mirror_the_sentence_says_what_to_put_where(part: Part, tmp_path: Path) -> None:
    with pytest.raises(
        BuildError, match=r"thing 1\.0 cannot be fetched \(apt is told of no mirror of Debian\): put thing_1\.0\.deb"
    ) as no:
        provide(load_board("sim"))
    assert no.value.exit_code == 3 and str(tmp_path / "downloads") in str(no.value)
    assert not part.present


@pytest.mark.parametrize("helper", [parts._APT_HELPER, "/nowhere"])
def test_a_mirror_that_is_named_is_asked(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: str
) -> None:
    """By apt where it is, and without it; here a folder."""
    if helper != "/nowhere" and not Path(helper).is_file():
        pytest.skip("apt is not installed")
    there = tmp_path / "mirror/pool/t/thing_1.0.deb"
    there.parent.mkdir(parents=True)
    there.write_bytes(package(FILES))
    monkeypatch.setattr(parts, "_APT_HELPER", helper)
    monkeypatch.setenv(parts.MIRROR, f"file://{tmp_path}/mirror/")
    assert (provide(load_board("sim"))["thing"] / "a.c").is_file()


@pytest.mark.parametrize("helper", [parts._APT_HELPER, "/nowhere"])
def test_a_mirror_that_has_it_not_is_told(
    part: Part, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, helper: str
) -> None:
    monkeypatch.setattr(parts, "_APT_HELPER", helper)
    monkeypatch.setenv(parts.MIRROR, f"file://{tmp_path}/mirror")
    with pytest.raises(BuildError, match=r"cannot be fetched \(.+\): put thing_1\.0\.deb .* or set SPEDGE_DEBIAN"):
        provide(load_board("sim"))
    assert not part.present and not list(tmp_path.glob("downloads/*.deb"))


@pytest.mark.parametrize("content", [b"", package(FILES)[:-1], package({**FILES, A_C: b"int b;"})])
def test_another_package_is_not_taken(part: Part, tmp_path: Path, content: bytes) -> None:
    path = put(tmp_path, content)
    with pytest.raises(BuildError, match="was not the package that is meant"):
        provide(load_board("sim"))
    assert not path.exists() and not part.present


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", package(FILES, b"control.tar")])
def test_a_package_without_data_is_told(part: Part, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BuildError, match=r"thing_1\.0\.deb cannot be unpacked: it has no data"):
        parts._unpack(content, part, tmp_path)


def test_every_part_of_a_port_is_known() -> None:
    wanted = {board.name: [part.name for part in parts_of(board)] for board in list_boards()}
    assert wanted["pico"] == wanted["pico2"] == ["pico-sdk", "tinyusb"] and wanted["sim"] == []
