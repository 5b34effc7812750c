"""The reference's small recordings, tokenized on the emulated Arm boards and over the link."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge.base.errors import CheckFailed, DeviceError
from spedge.bench.tokenizer import board_cost
from spedge.boards.manifest import load_board
from spedge.device.open import Device, open_board
from spedge.events.evt2 import encode_words, time_words
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.tokens.settings import TokenizerSettings
from tests.python.test_tokenizer import (
    INDEX,
    STREAMING,
    VOXELS,
    assert_is_the_reference,
    golden_events,
    golden_tokenizer,
)
from tests.tiny import build_firmware, missing_for

RECORDINGS = ("nmnist_34x34", "adversarial_46x37")
BOARDS = ("mps2-an386", "mps2-an500", "mps2-m0plus")


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("config", [*STREAMING, *VOXELS])
@pytest.mark.parametrize("recording", RECORDINGS)
def test_boards_give_the_reference(shared: Path, recording: str, config: str, board: str) -> None:
    """board_cost raises CheckFailed unless every field and event of the board's tokens is the host's."""
    if missing := missing_for(board):
        pytest.skip(missing)
    events = golden_events(shared, recording)
    assert_is_the_reference(shared, recording, config, golden_tokenizer(shared, recording, config).push(events))
    cost = board_cost(events, golden_tokenizer(shared, recording, config), load_board(board))
    assert cost.tokens == json.loads((shared / INDEX).read_text())["tokens"][f"{recording}.{config}"]["tokens"]
    assert cost.events == len(events)


def test_other_tokens_are_noticed(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := missing_for(BOARDS[0]):
        pytest.skip(missing)
    events = golden_events(shared, RECORDINGS[0])
    tokenizer = golden_tokenizer(shared, RECORDINGS[0], STREAMING[0])
    push = tokenizer.push

    def one_wrong(events: NDArray[np.void]) -> spedge.Tokens:
        tokens = push(events)
        tokens.events["p"][7] ^= 1
        return tokens

    monkeypatch.setattr(tokenizer, "push", one_wrong)
    with pytest.raises(CheckFailed, match="not the 10 tokens made here"):
        board_cost(events, tokenizer, load_board(BOARDS[0]))


@pytest.mark.skipif(missing_for("sim") is not None, reason=str(missing_for("sim")))
def test_the_application_gives_the_reference_over_the_link(
    shared: Path,
    tmp_path: Path,
) -> None:
    with open_board(load_board("sim"), build_firmware("sim", tmp_path / "firmware")) as device:
        give_the_reference(device, shared)


def give_the_reference(device: Device, shared: Path) -> None:
    """On any device: the smallest recording, every configuration. A time word ends the last bin of voxels."""
    recording = RECORDINGS[0]
    index = json.loads((shared / INDEX).read_text())
    size = index["recordings"][recording]
    events = golden_events(shared, recording)
    last = int(events["t"][-1])
    for config in [*STREAMING, *VOXELS]:
        settings = TokenizerSettings(size["width"], size["height"], **index["configs"][config])
        configured = device.configure(Configuration(settings, model=False, report_tokens=16))
        assert configured.tokenizer.kind == settings.kind
        assert configured.tokenizer.threshold == settings.threshold
        device.send(encode_words(events))
        if settings.kind == "voxel" and settings.duration_us is not None:
            device.send(time_words((-(-last // settings.duration_us) + 1) * settings.duration_us, last))
        expected = golden_tokenizer(shared, recording, config).push(events)
        assert_is_the_reference(shared, recording, config, expected)
        np.testing.assert_array_equal(device.tokens(), as_reported(expected), err_msg=config)
        assert device.stats().imbalance(len(events)) is None
    with pytest.raises(DeviceError, match="out of range"):
        device.configure(Configuration(TokenizerSettings(34, 34, kind="voxel"), model=False))
