"""docs/architecture.md, "Where to add": each recipe followed, with something that is not there yet."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import spedge
from spedge import cli, recordings
from spedge.base.errors import InputError
from spedge.boards import manifest
from spedge.events.arrays import EVENT_DTYPE
from spedge.recordings.base import Recording
from tests.needs import needs
from tests.python.test_build import output, tree


def some_events(width: int, height: int, count: int = 500, seed: int = 0) -> NDArray[Any]:
    random = np.random.default_rng(seed)
    events = np.zeros(count, EVENT_DTYPE)
    events["t"] = np.sort(random.integers(0, 300_000, count))
    events["x"], events["y"] = random.integers(0, width, count), random.integers(0, height, count)
    events["p"] = random.integers(0, 2, count)
    return events


class Records(Recording):
    """A format: two bytes of width and height, then EVENT_DTYPE as it is."""

    format = "records"

    def __init__(self, path: Path, width: int | None = None, height: int | None = None) -> None:
        size = path.read_bytes()[:2]
        super().__init__(path, size[0], size[1], "the file")

    def _chunks(self) -> Iterator[NDArray[Any]]:
        yield np.frombuffer(self.path.read_bytes()[2:], EVENT_DTYPE)


def test_a_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A reader and its ending: opened, checked, sorted, converted and described as any other."""
    monkeypatch.setitem(recordings._READERS, ".records", recordings._plain(Records))
    events = some_events(40, 30)
    path = tmp_path / "some.records"
    path.write_bytes(bytes([40, 30]) + events.tobytes())
    assert np.array_equal(spedge.open(path).events(), events)
    assert cli.execute(["info", str(path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["format"], said["width"], said["height"], said["events"]) == ("records", 40, 30, 500)
    assert cli.execute(["convert", str(path), str(tmp_path / "some.npz")]) == 0
    assert np.array_equal(spedge.open(tmp_path / "some.npz").events(), events)

    path.write_bytes(bytes([40, 30]) + events[::-1].tobytes())
    with pytest.raises(InputError):
        spedge.open(path).events()
    assert np.array_equal(spedge.open(path, sort=True).events()["t"], events["t"])
    path.write_bytes(bytes([20, 30]) + events.tobytes())
    assert len(spedge.open(path, outside="drop").events()) == np.count_nonzero(events["x"] < 20)


def test_a_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A manifest and an environment: listed, built and run."""
    needs("platformio", "cc")
    from spedge.boards.build import build

    firmware = tree(tmp_path, monkeypatch)
    boards = firmware.parent / "boards"
    text = json.loads((boards / "sim.json").read_text())
    (boards / "mine.json").write_text(json.dumps({**text, "name": "My board"}))
    with (firmware / "platformio.ini").open("a") as project:
        project.write("\n[env:mine]\nboard = mine\n")
    monkeypatch.setattr(manifest, "boards_dir", lambda: boards)
    assert cli.execute(["boards", "--json"]) == 0
    assert "mine" in [board["name"] for board in json.loads(capsys.readouterr().out)["boards"]]
    assert output(build(manifest.load_board("mine"), None).path).startswith("mine ")


def test_an_operator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, where TVM imports it and its arithmetic is C."""
    needs("tvm", "cc")
    import onnx

    from spedge.compile import CompileError, compile_onnx
    from spedge.compile.fixed import operators, prepare

    def value(name: str) -> Any:
        return onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 8])

    node = onnx.helper.make_node("Softsign", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "softsign", [value("x")], [value("y")])
    model = tmp_path / "softsign.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9), model)
    with pytest.raises(CompileError, match="Softsign"):
        compile_onnx(model, "native", tmp_path / "refused")

    monkeypatch.setattr(prepare, "SUPPORTED", operators.SUPPORTED | {"Softsign"})
    compile_onnx(model, "native", tmp_path / "out")
    (tmp_path / "out" / "run.c").write_text(
        '#include "spedge/model.h"\n#include <stdio.h>\n#include <string.h>\n'
        "static unsigned char arena[1 << 16] __attribute__((aligned(16)));\n"
        "int main(void)\n{\n    const float x[8] = {-4, -2, -1, 0, 0.5f, 1, 3, 100};\n"
        "    memcpy(arena + sp_model.input_offset, x, sizeof x);\n"
        "    if (sp_model.encode(arena, sp_model.tokens) != 0)\n        return 1;\n"
        "    const float *y = sp_model_output(arena, &sp_model.outputs[0]);\n"
        '    for (int i = 0; i < 8; i++)\n        printf("%.9g ", (double)y[i]);\n    return 0;\n}\n'
    )
    sources = list((tmp_path / "out").glob("*.c"))
    subprocess.run(["cc", "-I.", "-Iinclude", *sources, "-lm", "-o", "run"], cwd=tmp_path / "out", check=True)
    got = np.array(output(tmp_path / "out" / "run").split(), np.float64)
    x = np.array([-4, -2, -1, 0, 0.5, 1, 3, 100])
    np.testing.assert_allclose(got, x / (1 + np.abs(x)), atol=1e-6)


def test_a_preset_and_a_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that describes and reads a data set, and a preset that names it."""
    from spedge.model.parts import Sensor
    from spedge.training import presets
    from spedge.training.data import registry
    from spedge.training.data.base import Dataset, Description, Sample

    module = ModuleType("spedge.training.data.corners")
    labels = ("left", "right")
    samples = tuple(Sample(some_events(40, 30, seed=i), i % 2, str(i)) for i in range(10))
    module.DESCRIPTION = Description("corners", "Corners", Sensor(40, 30), labels)  # type: ignore[attr-defined]
    module.read = lambda data, parts: Dataset("corners", 40, 30, labels, samples, ())  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry.MODULES, "corners", "corners")
    preset = replace(presets.preset("nmnist-pico"), name="corners-pico", dataset="corners")
    monkeypatch.setitem(presets.PRESETS, "corners-pico", preset)

    found = presets.preset("corners-pico")
    spec = found.spec()
    assert (spec.sensor, spec.labels, spec.preset) == (Sensor(40, 30), labels, "corners-pico")
    learn, held = registry.load_dataset(found.dataset, None).split(0.2, 0)
    assert (len(learn), len(held)) == (8, 2)
    assert found.recipe.minutes
