"""What may happen at a USB cable while a device works, and what must come through all the same."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from spedge.device.open import Device
from spedge.events.evt2 import encode_words
from spedge.link.protocol import Configuration
from spedge.link.tokens import as_reported
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokenizer
from tests.chips.double import Double
from tests.events import scattered

WHILE = 0.5  #: seconds
WHENS = pytest.mark.parametrize("when", ["events", "tokens"])
HOSTS = pytest.mark.parametrize("words", [("suspend", "resume"), ("deaf", "hears")], ids=lambda words: words[0])


def require_the_hosts_tokens(double: Double, device: Device, words: tuple[str, str], when: str) -> None:
    """Words to the double, the second a while after the first, before the second half of the events, or the tokens."""
    settings = TokenizerSettings(34, 34, patch_size=4, threshold=16.0)
    events = scattered(1500, 15_000, 2)
    device.configure(Configuration(settings, model=False, report_tokens=64))
    device.send(encode_words(events[:700]))
    device.flush()
    later = threading.Timer(WHILE, double.tell, words[1:])

    def tell() -> None:
        double.tell(words[0])
        later.start()

    if when == "events":
        tell()
    device.send(encode_words(events[700:]))
    device.flush()
    if when == "tokens":
        tell()
    expected = as_reported(Tokenizer.by(settings).push(events))
    assert len(expected) > 40  # more bytes than there is room for in the device
    np.testing.assert_array_equal(device.tokens(), expected)
    later.join()
    assert device.stats().imbalance(len(events)) is None
