"""What the page costs: `python -m tests.bench.page`, apart from `make bench` as it needs Chromium. Nothing is asserted.

A camera of 320x240 pixels that sends a million events a second is shown for some seconds in a headless Chromium that
renders in software: frames a second, the time from an event to the canvas that shows it (median, and that of nine of
ten), and the processor time of the server's process, what makes the events left aside, as a share of a core.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import time
from typing import Any

import numpy as np

from spedge.events.arrays import EVENT_DTYPE
from spedge.tokens.settings import TokenizerSettings
from tests.browser import browser, missing, until

WIDTH, HEIGHT = 320, 240
PACKET_US = 5_000

#: Ages of what is shown, µs, of each frame that is drawn; the stream's time 0 is at the wall clock's `began`.
_WATCH = """(began) => { window.ages = []; let seen = view.frames;
    const look = () => { if (view.frames !== seen) { seen = view.frames;
        ages.push((performance.timeOrigin + performance.now()) * 1000 - began - view.frame.t); }
        requestAnimationFrame(look); };
    look(); }"""


def _serve(rate: int, pipe: Any) -> None:
    """A camera and its page until something is said; answers with the address, the beginning, and CPU seconds."""
    from spedge.view.live import LiveStage
    from spedge.view.server import Server

    random = np.random.default_rng(0)
    each = rate * PACKET_US // 1_000_000
    packets = []
    for _ in range(50):
        events = np.zeros(each, EVENT_DTYPE)
        events["t"] = np.sort(random.integers(0, PACKET_US, each))
        events["x"], events["y"] = random.integers(0, WIDTH, each), random.integers(0, HEIGHT, each)
        events["p"] = random.integers(0, 2, each)
        packets.append(events)
    settings = TokenizerSettings.of(width=WIDTH, height=HEIGHT, patch_size=16, threshold=256)
    with LiveStage("bench", settings) as stage, Server(stage) as server:
        began = time.time()
        pipe.send((server.address, began * 1e6))
        number = 0
        while not pipe.poll():
            if (number + 1) * PACKET_US * 1e-6 > time.time() - began:
                time.sleep(0.001)
                continue
            events = packets[number % len(packets)].copy()
            events["t"] += number * PACKET_US
            stage.offer(events)
            number += 1
            if number == 200:  # all is warm
                marks = time.process_time(), time.thread_time(), time.time()
        used, own = time.process_time() - marks[0], time.thread_time() - marks[1]
        pipe.send((used - own) / (time.time() - marks[2]))


def bench_page(seconds: float = 10, rate: int = 1_000_000) -> dict[str, float]:
    """frames a second, ages in ms, and the server's share of a core."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(rate, theirs), daemon=True)
    process.start()
    address, began = ours.recv()
    with browser() as chromium:
        page = chromium.new_page(viewport={"width": 1100, "height": 900})
        page.goto(address)
        until(page, "window.view && view.frames > 10")
        page.evaluate(_WATCH, began)
        page.wait_for_timeout(1000 * seconds)
        ages = np.array(page.evaluate("ages")) / 1000
        ours.send("end")
        share = ours.recv()
        page.close()
    process.join(5)
    return {
        "frames_per_second": len(ages) / seconds,
        "median_ms": float(np.median(ages)),
        "ninety_ms": float(np.percentile(ages, 90)),
        "server_share": share,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.page", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--rate", type=int, default=1_000_000, help="events a second")
    arguments = parser.parse_args()
    if why := missing():
        raise SystemExit(why)
    print(json.dumps(bench_page(arguments.seconds, arguments.rate), indent=1))


if __name__ == "__main__":
    main()
