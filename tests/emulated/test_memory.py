"""A whole trained model on a chip with 128 KB of RAM, with room for 8192 pending events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from spedge.base.paths import assets_dir
from spedge.boards.build import build
from spedge.boards.manifest import load_board
from spedge.device.open import open_board
from spedge.events.evt2 import encode_words
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle
from spedge.model.reference import Reference
from tests.shorter import shorter
from tests.tiny import require_compiled

TOKENS, POOL_EVENTS, RAM_BYTES = 64, 8192, 128 << 10


def test_pico_with_eight_thousand_pending_events_in_128_kilobytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the STM32F405, whose linker script has these 128 KB for everything: arena, pool, link, stack."""
    require_compiled("netduinoplus2")
    monkeypatch.setenv("SPEDGE_CACHE", str(tmp_path / "cache"))
    trained = Bundle.load(assets_dir() / "nmnist-pico")
    bundle = shorter(trained, TOKENS, tmp_path / "bundle")
    events = trained.vectors()[0].events
    board = load_board("netduinoplus2")
    with open_board(board, build(board, bundle).path) as device:
        configured = device.configure(Configuration(pool_events=POOL_EVENTS, report_tokens=32))
        assert (configured.pool_events, configured.window_tokens) == (POOL_EVENTS, TOKENS)
        assert configured.memory_used <= device.hello.memory_bytes < RAM_BYTES
        device.send(encode_words(events))
        tokens, result = device.tokens(), device.infer()
        computed = Reference(bundle).compute(events, POOL_EVENTS)
        assert tokens.tolist() == as_reported(computed.tokens).tolist()
        assert np.abs(result.logits - computed.logits).max() <= 1e-4
        assert device.stats().imbalance(len(events)) is None
