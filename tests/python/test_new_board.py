"""docs/new-board.md, as it is written: a port from the template, a board, an image."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from spedge import cli
from spedge.base.paths import boards_dir, firmware_dir
from spedge.boards import build as builder
from spedge.boards import manifest
from tests.needs import needs


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_the_page_makes_a_board(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("platformio", "arm-none-eabi-gcc")
    page = (repository / "docs/new-board.md").read_text()
    firmware, boards = tmp_path / "firmware", tmp_path / "boards"
    for source, copy in ((firmware_dir(), firmware), (boards_dir(), boards)):
        shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__", ".pio"))
    for module in (builder, manifest):
        monkeypatch.setattr(module, "boards_dir", lambda: boards)
    monkeypatch.setattr(builder, "firmware_dir", lambda: firmware)

    copies, commands = blocks(page, "sh")
    subprocess.run(["sh", "-e", "-c", copies], cwd=firmware / "port", check=True)
    (firmware / "port/mychip/startup.c").write_text(blocks(page, "c")[0])
    (boards / "my-board").mkdir()
    (boards / "my-board/memory.ld").write_text(blocks(page, "text")[0])
    (boards / "my-board.json").write_text(blocks(page, "json")[0])
    with (firmware / "platformio.ini").open("a") as project:
        project.write("\n" + blocks(page, "ini")[0])

    listing, building = (line.split()[1:] for line in commands.splitlines())
    assert cli.execute([*listing, "--json"]) == 0
    listed = {board["name"]: board for board in json.loads(capsys.readouterr().out)["boards"]}
    assert listed["my-board"]["ready"] and listed["my-board"]["runs"] == "serial"
    assert cli.execute([*building, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["report"]
    assert 40_000 < report["flash_bytes"] < report["flash_limit"] == 512 << 10
    assert 98_304 < report["ram_bytes"] < report["ram_limit"] == 128 << 10
    assert 500 < report["stack_bytes"] < 4096


def test_the_page_names_the_whole_port(repository: Path) -> None:
    """All that port.h asks for, and all that the template leaves open."""
    page = (repository / "docs/new-board.md").read_text()
    port = (firmware_dir() / "port/port.h").read_text()
    asked = set(re.findall(r"\b(port_[a-z_]+)\(", port))
    camera = {name for name in asked if name.startswith("port_camera")} | {"port_ram_source"}
    frames = {name for name in asked if name.startswith("port_frames")}
    assert asked - camera - frames <= set(re.findall(r"\bport_[a-z_]+\b", page))
    assert "`port_camera_…`" in page and camera
    assert "`port_frames_…`" in page and frames
