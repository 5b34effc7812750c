"""The page's server, asked as the page asks it: what it shows, and whom it lets in. No browser is needed."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.base.paths import assets_dir
from spedge.recordings import write
from tests.needs import needs

needs("PIL", "starlette", "uvicorn", "wsproto")

from spedge.view.open import open_stage  # noqa: E402
from spedge.view.server import Server  # noqa: E402
from tests.page_client import Page, Refused  # noqa: E402

WAVE, BUNDLE = assets_dir() / "recordings" / "wave.raw", assets_dir() / "gestures-pico"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with Server(open_stage(WAVE, bundle=BUNDLE, every_us=100_000)) as running:
        yield running


@pytest.fixture
def page(server: Server) -> Iterator[Page]:
    page = Page(server.address)
    page.ask("tokenizer")
    yield page
    page.close()


def get(server: Server, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read(), dict(answer.getheaders())


def resident() -> int:
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


# ---------------------------------------------------------------- what it shows
def test_frames_are_those_of_files(page: Page) -> None:
    """At any time, forwards and back: what `render` draws is what the page is told."""
    stage = open_stage(WAVE, bundle=BUNDLE)
    first = int(stage.scene.events["t"][0])
    for after in (0, 700_000, 123_456, 999_000):
        told = page.ask("frame", t=first + after, fade=50_000)
        frame = stage.scene.frame(first + after, 50_000)
        assert told["t"] == frame.t
        assert np.array_equal(told["events"], frame.events) and np.array_equal(told["tokens"], frame.tokens)
        assert (told["event_count"], told["token_count"]) == (frame.event_count, frame.token_count)


def test_sliders_give_the_tokens_of_the_command(page: Page, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for settings in (
        {"threshold": 40, "patch_size": 8},
        {"absolute_refractory_us": 5000, "relative_refractory_us": 20000, "relative_scale": 0.25},
        {"decay_per_us": 0.001},
    ):
        page.ask("tokenizer")
        told = page.ask("tokenizer", settings=settings)
        whole = {"threshold": 192, "patch_size": 16} | settings
        options = [word for name, value in whole.items() for word in (f"--{name.replace('_', '-')}", str(value))]
        out = tmp_path / "tokens.npz"
        assert cli.execute(["tokenize", str(WAVE), *options, "--out", str(out), "--json"]) == 0
        assert told["tokens"] == json.loads(capsys.readouterr().out)["tokens"] > 0
        assert not told["own"] and told["settings"] | settings == told["settings"]
        tokens = np.load(out)
        at = int(tokens["t"][len(tokens["t"]) // 2])
        shown = page.ask("frame", t=at, fade=10_000)["tokens"]
        young = (tokens["t"] <= at) & (tokens["t"] > at - 50_000)
        lit = {(int(y), int(x)) for x, y in zip(tokens["x"][young], tokens["y"][young], strict=True)}
        assert set(zip(*(axis.tolist() for axis in np.nonzero(shown)), strict=True)) == lit
    assert page.ask("tokenizer")["own"]


def test_a_chosen_token_has_its_events(page: Page) -> None:
    page.ask("tokenizer", settings={"threshold": 40})
    tokens = spedge.Tokenizer(width=128, height=128, patch_size=16, threshold=40).push(spedge.open(WAVE).events())
    index = len(tokens) // 2
    token = page.ask("token", column=int(tokens.x[index]), row=int(tokens.y[index]), t=int(tokens.t[index]))["token"]
    events = tokens.events_of(index)
    assert (token["index"], token["t"], token["events"]) == (index, int(tokens.t[index]), len(events))
    assert token["on"] == int(events["p"].sum())
    volume = np.array(token["volume"])
    assert volume.shape == (2, 4, 16, 16) and volume.sum() == len(events) and volume[1].sum() == token["on"]
    assert page.ask("token", column=0, row=0, t=0)["token"] is None


def test_steps_go_from_one_to_the_next(page: Page) -> None:
    events = spedge.open(WAVE).events()
    t = int(events["t"][100])
    assert page.ask("step", what="event", t=t)["t"] == int(events["t"][events["t"] > t][0])
    assert page.ask("step", what="event", t=t, back=True)["t"] == int(events["t"][events["t"] < t][-1])
    told = page.ask("series")["host"]["t"]
    assert page.ask("step", what="result", t=told[3])["t"] == told[4]
    assert page.ask("step", what="token", t=int(events["t"][-1]) + 1)["t"] is None


def test_what_a_board_says_is_held_against_the_host() -> None:
    stage = open_stage(WAVE, bundle=BUNDLE, every_us=200_000)
    host = stage.scene.results
    assert host is not None
    with Server(stage) as server:
        page = Page(server.address)
        assert page.ask("series")["verdict"] is None
        for t, logits in zip(host.t.tolist(), host.logits, strict=True):
            stage.device("sim", t, logits + np.float32(5e-5), 7, "ns")
        told = page.ask("series")
        assert told["verdict"]["equal"] and told["verdict"]["compared"] == told["verdict"]["of"] == len(host)
        assert told["device"]["name"] == "sim" and len(told["device"]["logits"]) == len(host)
        stage.device("sim", int(host.t[-1]), host.logits[-1] + np.float32(1e-3), 7, "ns")
        told = page.ask("series")
        assert not told["verdict"]["equal"] and 9e-4 < told["verdict"]["largest"] < 1.1e-3
        page.close()
    stage = open_stage(WAVE, bundle=BUNDLE, every_us=200_000)
    stage.device("sim", int(host.t[0]) + 1, host.logits[0], 7, "ns")  # of a time that the host has nothing of
    verdict = stage.answer({"op": "series"}).document["verdict"]
    assert not verdict["equal"] and verdict["compared"] == 0


@pytest.mark.parametrize(
    "asked",
    [
        "no json", "[" * 20_000, "7", "{}", '{"op": "open", "path": "/etc/passwd"}', '{"op": "frame", "t": "x"}',
        '{"op": "frame", "t": 1}', '{"op": "frame", "t": 1e300, "fade": 1}', '{"op": "frame", "t": NaN, "fade": 1}',
        '{"op": "tokenizer", "settings": {"width": 3}}', '{"op": "tokenizer", "settings": {"threshold": -1}}',
        '{"op": "tokenizer", "settings": {"patch_size": "x"}}', '{"op": "tokenizer", "settings": [1]}',
        '{"op": "tokenizer", "settings": {"threshold": NaN}}', '{"op": "token", "column": -1, "row": 0, "t": 0}',
        '{"op": "step", "what": "file", "t": 0}',
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_said_and_the_page_goes_on(page: Page, asked: str) -> None:
    page.say(asked)
    assert page.heard()["error"]
    assert page.ask("series")["own"]


# ---------------------------------------------------------------- whom it lets in
def test_only_who_knows_the_address_is_let_in(server: Server) -> None:
    own = urlsplit(server.address).path
    status, body, headers = get(server, own)
    assert status == 200 and b"<title>" in body
    assert "default-src 'none'" in headers["content-security-policy"] and headers["referrer-policy"] == "no-referrer"
    assert get(server, own + "about")[0] == get(server, own + "page.js")[0] == 200
    for path in ("/", "/about", "/page.js", f"/{'x' * len(server.token)}/", own[:-2] + "/", own[:-1]):
        assert get(server, path)[0] == 403, path
    for headers_of in (
        {"Host": "evil.example"},
        {"Host": f"evil.example:{server.port}"},
        {"Origin": "http://evil.example"},
    ):
        assert get(server, own + "about", **headers_of)[0] == 403, headers_of
    assert get(server, own, Host=f"localhost:{server.port}")[0] == 200


def test_only_its_own_page_may_ask(server: Server) -> None:
    Page(server.address, origin=f"http://localhost:{server.port}").close()
    for given in (
        {"origin": None}, {"origin": "http://evil.example"}, {"origin": "null"}, {"host": "evil.example"},
        {"origin": f"https://127.0.0.1:{server.port}"}, {"origin": f"http://127.0.0.1:{server.port + 1}"},
    ):  # fmt: skip
        with pytest.raises(Refused):
            Page(server.address, **given)
    with pytest.raises(Refused):
        Page(server.address.replace(server.token, "x" * len(server.token)))


def test_nothing_of_the_file_system_is_reachable(server: Server) -> None:
    own = urlsplit(server.address).path
    for path in (
        "../server.py", "..%2fserver.py", "%2e%2e/server.py", "/etc/passwd", "%2fetc%2fpasswd", "page/page.js",
        "page.py", "__init__.py", "wave.raw", "....//server.py",
    ):  # fmt: skip
        status, body, _ = get(server, own + path)
        assert status == 404 and b"import" not in body and b"root" not in body, path


def test_it_listens_on_this_machine_only(server: Server) -> None:
    port = f"{server.port:04X}"
    rows = [line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]


def test_a_page_that_reads_nothing_holds_nobody_up(server: Server) -> None:
    """It asks and asks: what is kept for it is bounded, and other pages have their frames meanwhile."""
    slow, before = Page(server.address), resident()
    slow._socket.settimeout(0.2)
    asked = json.dumps({"op": "frame", "t": 500_000, "fade": 50_000})
    sent = 0
    try:
        for sent in range(20_000):  # noqa: B007 330 MB of answers
            slow.say(asked)
    except TimeoutError:
        pass
    page = Page(server.address)
    begun = time.monotonic()
    for _ in range(20):
        assert page.ask("frame", t=600_000, fade=50_000)["t"] == 600_000
    assert time.monotonic() - begun < 5
    assert sent > 100 and resident() - before < 64 << 20
    slow.close()
    page.close()


# ---------------------------------------------------------------- the command
def test_the_command_shows_a_recording_until_it_is_interrupted() -> None:
    command = [sys.executable, "-m", "spedge", "view", str(WAVE), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        try:
            said = process.stdout.readline()
            address = re.search(r"wave.raw is at (http://127\.0\.0\.1:\d+/\S+/) until Ctrl-C", said)
            assert address, said
            page = Page(address[1])
            assert page.ask("frame", t=300_000, fade=50_000)["event_count"] > 0
            assert "host" not in page.ask("series")
            os.kill(process.pid, signal.SIGINT)
            assert process.wait(20) == 0
            assert process.stderr.read() == ""
        finally:
            process.kill()


def test_what_cannot_be_shown_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str], server: Server) -> None:
    assert cli.execute(["view", str(WAVE), "--board", "sim", "--no-browser"]) == 2
    assert "give a BUNDLE behind the recording" in capsys.readouterr().err
    assert cli.execute(["view", str(tmp_path / "no.raw"), "--no-browser"]) == 4
    assert cli.execute(["view", str(WAVE), "--port", str(server.port), "--no-browser"]) == 2
    assert "--port 0 takes any" in capsys.readouterr().err
    write(tmp_path / "a.raw", np.zeros(1, spedge.EVENT_DTYPE), 34, 34)
    assert cli.execute(["view", str(tmp_path / "a.raw"), str(BUNDLE), "--no-browser"]) == 2
    assert "choose a bundle for that sensor" in capsys.readouterr().err


def test_licences_of_what_the_page_needs_are_compatible(repository: Path) -> None:
    from importlib.metadata import metadata

    for name in ("starlette", "uvicorn", "wsproto", "pillow", "h11"):
        told: Any = metadata(name)
        said = [told.get("License-Expression") or "", told.get("License") or "", *(told.get_all("Classifier") or [])]
        text = " ".join(said)
        assert re.search(r"BSD|MIT|HPND", text) and "GPL" not in text, name
