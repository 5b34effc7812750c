"""Cameras' knobs: options and .bias files to the driver's configurations, of a fake of the driver and of the driver."""

from __future__ import annotations

import dataclasses
import importlib
import json
import sys
import tracemalloc
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spedge
from spedge import cli
from spedge.base.errors import InputError, UsageError
from spedge.jobs.capture import capture
from spedge.sources import open_source
from spedge.sources.knobs import Knobs, configured
from spedge.sources.usb import CAMERAS
from tests.needs import needs

SIZES = {
    "evk3": (1280, 720),
    "evk4": (1280, 720),
    "davis346": (346, 260),
    "dvxplorer": (640, 480),
    "silkyevcam": (640, 480),
    "triton2": (1280, 720),
}
MASKED, OF_ITS_OWN, NONE = ("evk3", "evk4", "silkyevcam"), ("davis346",), ("dvxplorer", "triton2")


def knobs(text: str) -> Knobs:
    options = dict(part.partition("=")[::2] for part in text.split(",") if part)
    found = Knobs.taken(options)
    assert not options
    return found


# ---------------------------------------------------------------- a fake of the driver


@dataclasses.dataclass
class FakeBiases:
    diff_on: np.int16 | int = 0
    fo: np.uint8 | int = 7
    log: bool = False


@dataclasses.dataclass
class FakeLimiter:
    reference_period_us: int
    maximum_events_per_period: int


@dataclasses.dataclass
class FakeConfiguration:
    biases: FakeBiases = dataclasses.field(default_factory=FakeBiases)
    x_mask: tuple[int, ...] = (0, 0)
    y_mask: tuple[int, ...] = (0,)
    mask_intersection_only: bool = True
    rate_limiter: FakeLimiter | None = None


@dataclasses.dataclass
class FakeProperties:
    width: int = 100
    height: int = 60


MODEL = types.SimpleNamespace(
    Biases=FakeBiases, Configuration=FakeConfiguration, RateLimiter=FakeLimiter, Properties=FakeProperties
)


class Camera:
    """What the driver's open gives."""

    def __init__(self, packets: list[Any]) -> None:
        self.packets = iter(packets)

    def __enter__(self) -> Camera:
        return self

    def __exit__(self, *_: object) -> None: ...

    def __iter__(self) -> Camera:
        return self

    def __next__(self) -> tuple[None, Any]:
        return None, next(self.packets)

    def properties(self) -> FakeProperties:
        return FakeProperties()


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    fake = types.ModuleType("neuromorphic_drivers")
    opened: list[Any] = []

    def open_(configuration: Any, **_: Any) -> Camera:
        opened.append(configuration)
        return Camera(fake.__dict__["packets"])

    fake.__dict__.update(open=open_, prophesee_evk4=MODEL, opened=opened, packets=[])
    monkeypatch.setitem(sys.modules, "neuromorphic_drivers", fake)
    return fake


def test_options_reach_the_driver(driver: types.ModuleType, tmp_path: Path) -> None:
    file = tmp_path / "mine.bias"
    file.write_text("% of the lab\n-20  % bias_diff_on\n\n9 % bias_fo and a word\n")
    with open_source(f"camera:evk4,roi=30x20+10+5,rate=250000,biases={file},bias_log=1,bias_fo=11"):
        pass
    (configuration,) = driver.__dict__["opened"]
    assert configuration.biases == FakeBiases(diff_on=-20, fo=11, log=True)
    assert configuration.rate_limiter == FakeLimiter(1000, 250)
    assert configuration.mask_intersection_only is False
    columns = [configuration.x_mask[x // 64] >> x % 64 & 1 == 0 for x in range(100)]
    assert [x for x, on in enumerate(columns) if on] == list(range(10, 40))
    rows = [configuration.y_mask[0] >> (59 - y) & 1 == 0 for y in range(60)]  # from below
    assert [y for y, on in enumerate(rows) if on] == list(range(5, 25))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("roi=30x20", "roi=30x20 is no region: give its size and its corner, as in roi=320x240"),
        ("roi=0x20+1+1", "is no region"),
        ("roi=90x20+11+0", "reaches outside of the camera evk4, 100x60"),
        ("rate=fast", "rate=fast is no whole number"),
        ("rate=999", "too low: the sensor counts 1000 times a second"),
        ("bias_diff_on=1e3", "bias_diff_on=1e3 is no whole number"),
        ("bias_pr=3", "has no bias_pr; it has bias_diff_on, bias_fo, bias_log"),
        ("bias_diff_on=32768", "must be -32768 to 32767"),
        ("bias_fo=-1", "must be 0 to 255"),
        ("bias_log=2", "must be 0 to 1"),
        ("lens=3", "no option 'lens'; as in .*roi=WxH"),
    ],
)
def test_what_a_camera_has_not_is_said_before_it_is_opened(driver: types.ModuleType, options: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        open_source(f"camera:evk4,{options}")
    assert driver.__dict__["opened"] == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "there is no bias in it"),
        (b"299\n", "line 1 is no value and name"),
        (b"1 % bias_fo\nfast % bias_hpf\n", "line 2 is no value and name"),
        (b"1 % bias_fo\n2 % fo\n", "line 2 is the second with bias_fo"),
        (b"\xff\xfe\x00", "it is no text"),
    ],
)
def test_files_of_biases_that_are_none(content: bytes, says: str, tmp_path: Path) -> None:
    file = tmp_path / "a.bias"
    file.write_bytes(content)
    with pytest.raises(InputError, match=says):
        knobs(f"biases={file}")
    with pytest.raises(InputError, match="cannot be read"):
        knobs(f"biases={tmp_path / 'none.bias'}")


@pytest.mark.parametrize("name", ["a.raw", "a.h5", "a.npz"])
def test_edges_at_the_trigger_input_are_recorded(driver: types.ModuleType, name: str, tmp_path: Path) -> None:
    events = np.zeros(300, [("t", "<u8"), ("x", "<u2"), ("y", "<u2"), ("on", "?")])
    events["t"] = np.arange(300) * 100
    edges = np.array([(150, 0, True), (12_345, 0, False)], [("t", "<u8"), ("id", "u1"), ("rising", "?")])
    driver.__dict__["packets"] = [
        types.SimpleNamespace(polarity_events=events[:100], trigger_events=edges[:1]),
        types.SimpleNamespace(polarity_events=events[100:], trigger_events=edges[1:]),
    ]
    with open_source("camera:evk4") as source:
        capture(source, tmp_path / name)
    recording = spedge.open(tmp_path / name)
    assert recording.triggers().tolist() == [(150, 0, 1), (12_345, 0, 0)]
    assert recording.events()["t"].tolist() == events["t"].tolist()


def test_edges_that_nobody_takes_are_not_kept(driver: types.ModuleType) -> None:
    """An hour of a lamp's flicker, of which `run` and `view` want the events only."""
    edges = np.zeros(72, [("t", "<u8"), ("id", "u1"), ("rising", "?")])
    driver.__dict__["packets"] = [types.SimpleNamespace(polarity_events=None, trigger_events=edges)] * 10_000
    with open_source("camera:evk4") as source:
        tracemalloc.start()
        assert sum(len(packet) == 0 for packet in source.packets()) == 10_000
        kept, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept < 10_000 and len(source.take_triggers()) == 0
    source = open_source("camera:evk4")
    source.keeps_triggers = True  # as `stream`, which takes them with every packet
    assert [len(source.take_triggers()) for _ in source.packets()] == [72] * 10_000
    source.close()


# ---------------------------------------------------------------- the driver's own classes, without a camera


def model_of(name: str) -> Any:
    needs("neuromorphic_drivers")
    return getattr(importlib.import_module("neuromorphic_drivers"), CAMERAS[name])


@pytest.mark.parametrize("name", CAMERAS)
def test_the_driver_takes_every_bias_at_its_ends(name: str) -> None:
    """It serializes them for the camera: what it cannot hold would raise there."""
    model = model_of(name)
    plain = configured(name, model, Knobs()).serialize()
    assert plain == model.Configuration().serialize()
    biases = model.Biases()
    for field in dataclasses.fields(biases):
        other = int(getattr(biases, field.name)) + 1 if not isinstance(getattr(biases, field.name), bool) else 1
        made = configured(name, model, knobs(f"bias_{field.name}={other}"))
        assert int(getattr(made.biases, field.name)) == other
        changed = made.serialize()
        assert len(changed) == len(plain)
        assert changed != plain or isinstance(getattr(biases, field.name), bool)
        with pytest.raises(UsageError, match="out of range"):
            configured(name, model, knobs(f"bias_{field.name}=100000"))


@pytest.mark.parametrize("name", CAMERAS)
def test_regions_and_rates_of_the_driver(name: str) -> None:
    model = model_of(name)
    width, height = SIZES[name]
    assert (model.Properties().width, model.Properties().height) == (width, height)
    if name in NONE:
        with pytest.raises(UsageError, match="has no region of its own: --crop"):
            configured(name, model, knobs("roi=64x32+8+4"))
    else:
        made = configured(name, model, knobs("roi=64x32+8+4"))
        made.serialize()
        if name in OF_ITS_OWN:
            region = made.region_of_interest
            assert (region.left, region.top, region.width, region.height) == (8, 4, 64, 32)
        else:
            from neuromorphic_drivers import RowColumnMask

            theirs: Any = RowColumnMask(width, height, True)
            theirs.clear_rectangle(8, height - 4 - 32, 64, 32)  # the driver counts rows from below
            assert (made.x_mask, made.y_mask) == (theirs.x_mask(), theirs.y_mask())
            sees = theirs.pixels()
            assert np.argwhere(sees).min(axis=0).tolist() == [4, 8]
            assert sees.sum() == 64 * 32
    if hasattr(model.Configuration(), "rate_limiter"):
        limiter = configured(name, model, knobs("rate=3000000")).rate_limiter
        assert (limiter.reference_period_us, limiter.maximum_events_per_period) == (1000, 3000)
    else:
        with pytest.raises(UsageError, match=f"the camera {name} has no rate limit"):
            configured(name, model, knobs("rate=3000000"))


def test_every_camera_that_the_driver_opens_has_a_name() -> None:
    needs("neuromorphic_drivers")
    import neuromorphic_drivers

    assert {name.name.lower() for name in neuromorphic_drivers.Name} == set(CAMERAS.values())
    assert set(SIZES) == set(CAMERAS)


# ---------------------------------------------------------------- spedge devices


def test_devices_lists_cameras(driver: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def listed(name: str, text: str, connection: str, serial: str | None, error: str | None) -> Any:
        return types.SimpleNamespace(
            name=types.SimpleNamespace(name=name, value=text),
            connection=types.SimpleNamespace(value=connection),
            serial=serial,
            error=error,
        )

    driver.__dict__["list_devices"] = lambda: [
        listed("LUCID_TRITON", "Lucid Triton", "Ethernet", "22", None),
        listed("CENTURYARKS_VGA", "CenturyArks VGA", "USB 3.0", None, "access denied"),
        listed("OTHER", "Some other", "USB 3.0", "1", None),
    ]
    assert cli.execute(["devices", "--no-ask", "--json"]) == 0
    cameras = json.loads(capsys.readouterr().out)["cameras"]
    assert [camera["kind"] for camera in cameras] == ["triton2", "silkyevcam", None]
    assert cameras[1] == {
        "name": "CenturyArks VGA",
        "kind": "silkyevcam",
        "connection": "USB 3.0",
        "serial": None,
        "problem": "access denied",
    }
    assert cli.execute(["devices", "--no-ask"]) == 0
    out = capsys.readouterr().out
    assert "camera:triton2" in out and "access denied" in out


def test_devices_without_the_driver(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "neuromorphic_drivers", None)
    assert cli.execute(["devices", "--no-ask", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cameras"] is None
