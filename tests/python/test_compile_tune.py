"""spedge compile --tune: the search, what it keeps, and that every compilation uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spedge.base.errors import UsageError
from spedge.bench.machine import find_machine, load_machine
from spedge.boards.manifest import load_board
from spedge.cli import execute
from spedge.compile import TARGETS, compile_bundle, find_target, targets
from spedge.compile.measure.synthetic import Shape, make_bundle, make_encoder
from spedge.compile.measure.tune import COUNTER_STEP, COUNTS, SPACE, Trial, _Search, store, tune
from spedge.compile.targets import Parameters, read_tuned, tuned_path
from spedge.model.bundle import Bundle
from tests.needs import needs

needs("tvm")

HOST = load_machine("sim")
SHAPE = Shape(tokens=9, hidden=12, intermediate=18, heads=2, layers=2, classes=5)
KEPT = sorted(tuned_path("any").parent.glob("*.json"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    made: Bundle = make_bundle(tmp_path_factory.mktemp("tune") / "bundle", make_encoder(SHAPE), SHAPE, samples=2)
    return made


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Tuned parameters in a folder of the test's own."""
    monkeypatch.setattr(targets, "_TUNED", tmp_path / "tuned")
    return tmp_path / "tuned"


def bowl(self: _Search, parameters: Parameters) -> Trial:
    """A cost with its least at rows 6, unroll 4; rows 7 do not work."""
    if parameters["rows"] == 7:
        return Trial(parameters, None, "failed")
    return Trial(parameters, 100 + 10 * abs(parameters["rows"] - 6) + abs(parameters["unroll"] - 4))


def test_the_search_goes_down_along_each_axis(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Search, "run", bowl)
    said: list[str] = []
    rows, unroll = [{"rows": n} for n in (3, 6, 7, 8)], [{"unroll": n} for n in (2, 4, 8)]
    found = tune(bundle, "native", HOST, space=[rows, unroll], on_progress=said.append)
    assert found.best.parameters == {**TARGETS["native"].parameters, "rows": 6, "unroll": 4}
    assert (found.best.cost, found.default.cost) == (100, 120)
    assert len(said) == len(found.trials) == len({json.dumps(t.parameters) for t in found.trials})
    assert [t.reason for t in found.trials if t.cost is None] == ["failed"]


def test_nothing_better_leaves_the_default(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Search, "run", lambda self, parameters: Trial(parameters, 7))
    assert tune(bundle, "native", HOST).best.parameters == TARGETS["native"].parameters


def test_tuning_gives_the_same_answer_twice_and_nothing_worse_than_the_default(bundle: Bundle) -> None:
    board = load_board("mps2-an500")
    if board.missing:
        pytest.skip(f"not installed: {', '.join(board.packages_missing)}")
    points = [[{"unroll": 2}, {"unroll": TARGETS["cortex-m7"].unroll}]]
    first, second = (tune(bundle, "cortex-m7", find_machine("cortex-m7"), space=points) for _ in range(2))
    assert first.best.parameters == second.best.parameters
    step = COUNTER_STEP * COUNTS  # the boards count in steps, and a run begins anywhere in one
    for a, b in zip(first.trials, second.trials, strict=True):
        assert a.parameters == b.parameters and a.cost is not None and b.cost is not None
        assert abs(a.cost - b.cost) <= step
    assert first.exact and len(first.trials) == 2
    assert first.best.cost is not None and first.default.cost is not None
    assert first.best.cost <= min(t.cost for t in first.trials if t.cost is not None) + step
    assert first.best.cost <= first.default.cost
    assert len({t.cost for t in first.trials}) == 2


def test_every_later_compilation_uses_what_was_found(
    bundle: Bundle, elsewhere: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Search, "run", bowl)
    found = tune(bundle, "native", HOST, space=[[{"unroll": 4}, {"unroll": 16}], [{"single_columns": 4}]])
    assert store(found).parent == elsewhere
    store(tune(bundle, "native", HOST, "int8", space=[[{"unroll": 2}]]))
    assert find_target("native").parameters == found.best.parameters
    assert set(read_tuned("native")) == {"fp32", "int8"}
    assert compile_bundle(bundle, "native", tmp_path / "model").parameters == found.best.parameters
    report = json.loads((tmp_path / "model/report.json").read_text())
    assert report["parameters"] == found.best.parameters
    # The next search starts from the target's own parameters again, and comes to the same end.
    assert tune(bundle, "native", HOST, space=[[{"unroll": 4}, {"unroll": 16}], [{"single_columns": 4}]]) == found


@pytest.mark.parametrize("path", KEPT, ids=lambda p: p.stem)
def test_the_tuned_parameters_of_the_project_are_loaded(path: Path) -> None:
    for precision, entry in read_tuned(path.stem).items():
        assert find_target(path.stem, precision).parameters == entry["parameters"]
        assert entry["cost"] <= entry["default_cost"] and entry["unit"] == "instructions"
        assert load_board(entry["board"]).target == path.stem


def test_there_are_tuned_parameters() -> None:
    assert KEPT and {path.stem for path in KEPT} <= set(SPACE)


@pytest.mark.parametrize("text", ["{", '{"schema": 9}', '{"schema": 1, "fp32": {"parameters": {"rows": "many"}}}'])
def test_a_damaged_file_is_named(elsewhere: Path, text: str) -> None:
    elsewhere.mkdir()
    (elsewhere / "native.json").write_text(text)
    with pytest.raises(UsageError, match=r"native\.json cannot be used"):
        find_target("native")


def test_a_machine_of_another_core_is_refused(bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="sim cannot run what is compiled for cortex-m7"):
        tune(bundle, "cortex-m7", HOST)


def test_a_target_without_a_board_is_refused() -> None:
    with pytest.raises(UsageError, match=r"no emulated board counts the instructions of aarch64: .*cortex-m7"):
        find_machine("aarch64")


def test_the_command_shows_and_keeps_what_it_finds(
    bundle: Bundle,
    elsewhere: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(_Search, "run", bowl)
    arguments = ["compile", str(bundle.path), "--target", "native", "--out", str(tmp_path / "model"), "--tune"]
    assert execute([*arguments, "--json"]) == 0
    document = json.loads(capfd.readouterr().out)
    assert document["tuning"]["best"]["parameters"] == document["parameters"]
    assert (elsewhere / "native.json").is_file()
    assert execute(arguments) == 0
    assert "native.json" in capfd.readouterr().out
    (tmp_path / "model.onnx").write_bytes(b"")
    assert execute(["compile", str(tmp_path / "model.onnx"), *arguments[2:]]) == 2
    assert "--tune" in capfd.readouterr().err
