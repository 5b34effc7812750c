"""The authors' checkpoints: tensors find their places, nothing that is pickled is run, logits stay what they were."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import InputError, UsageError
from spedge.cli import execute
from spedge.model.bundle import Bundle
from spedge.model.parts import Pcn
from spedge.model.reference import Reference
from spedge.training.presets import PRESETS, SIZES
from tests.golden_models import Case, cases, clip, folder, state
from tests.needs import needs

needs("torch")

import torch  # noqa: E402

from spedge.training import import_run  # noqa: E402
from spedge.training.checkpoint import load_checkpoint  # noqa: E402
from spedge.training.models.registry import make_model  # noqa: E402
from spedge.training.weights.authors import theirs, weights_of  # noqa: E402
from tests.python.test_cli_training import raw, told  # noqa: E402, F401
from tests.python.test_models_golden import batch_of  # noqa: E402

CLASSIFIERS = [name for name in PRESETS if name[:2] in ("DG", "SL")]


def names_of(preset: str) -> dict[str, dict[str, Any]]:
    """Rows of names.json for a preset; those of layer 0 stand for all."""
    names = folder() / "names.json"
    if not names.exists():
        pytest.skip(f"{names} is not there")
    rows = json.loads(names.read_text())["presets"]
    _, family, kind = preset.split("-")
    found: dict[str, dict[str, Any]] = rows[f"DG-{family}-{'E' if kind == 'E' else 'SP'}"]
    return found


def state_dict_of(case: Case) -> dict[str, Any]:
    """The case's weights by the authors' names, as names.json has them by role."""
    found = {}
    layers = case.model.get("layers", 1)
    for name, row in names_of(case.preset).items():
        for layer in range(layers if ".layers.0." in name else 1):
            roles = row["role"] if isinstance(row["role"], list) else [[row["role"], None]]
            parts = [case.parameters[role.replace("layer0", f"layer{layer}")] for role, _ in roles]
            found[name.replace(".layers.0.", f".layers.{layer}.")] = torch.from_numpy(np.concatenate(parts))
    return found


class Foreign:
    """Of the authors' package, which is not here when the checkpoint is read."""

    def __init__(self, *values: Any) -> None:
        self.values = values


class ForeignDict(dict):  # type: ignore[type-arg]
    """The same, with items of its own."""


@pytest.fixture
def foreign() -> Iterator[ModuleType]:
    module = ModuleType("authors_package")
    for kind in (Foreign, ForeignDict):
        kind.__module__ = module.__name__
        setattr(module, kind.__name__, kind)
    sys.modules[module.__name__] = module
    yield module
    sys.modules.pop(module.__name__, None)


def checkpoint(path: Path, state_dict: dict[str, Any], **more: Any) -> Path:
    """As Lightning writes it, with what the authors' has beside tensors."""
    content = {
        "epoch": 11, "global_step": 4711, "pytorch-lightning_version": "2.5.0", "state_dict": state_dict,
        "loops": {"fit_loop": {"state_dict": {}}}, "callbacks": {}, "lr_schedulers": [{"last_epoch": 3}],
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 1e-4}]}],
        "hyper_parameters": {"config": Foreign("a", 3), "sensor": (128, 128)}, **more,
    }  # fmt: skip
    torch.save(content, path)
    sys.modules.pop("authors_package", None)
    return path


def with_no_use(state_dict: dict[str, Any]) -> dict[str, Any]:
    """With entries that carry nothing that a model needs, and some that are no tensors."""
    return {
        **state_dict,
        "model.conv1.kernel_size": torch.tensor([4, 4, 4]),
        "model.conv1.is_open_spline": torch.ones(3, dtype=torch.uint8),
        "model.norm1.module.num_batches_tracked": torch.tensor(77),
        "val_metrics.accuracy.tp": torch.zeros(11),
        "metrics": Foreign("x"),
        "timer": ForeignDict(a=[Foreign()]),
        "started": os.stat_result(range(10)),
    }


# ---------------------------------------------------------------- names


@pytest.mark.parametrize("preset", CLASSIFIERS)
def test_names_and_shapes_are_the_authors(preset: str) -> None:
    """For all of the paper's classifiers, at full size."""
    spec, rows = PRESETS[preset].spec(), names_of(preset)
    with torch.device("meta"):
        own = make_model(spec).state_dict()
    expected = {
        name.replace(".layers.0.", f".layers.{layer}."): int(np.prod(row["shape"]))
        for name, row in rows.items()
        for layer in range(SIZES["base"][3] if ".layers.0." in name else 1)
    }
    classes = {"head.linear", "fc.weight", "classifier.lins.2"}
    for name in [name for name in expected if any(part in name for part in classes)]:
        expected[name] = expected[name] // 11 * len(spec.labels)
    used = {name: tensor for name, tensor in own.items() if not name.endswith("num_batches_tracked")}
    assert {theirs(name, spec): tensor.numel() for name, tensor in used.items()} == expected


@pytest.mark.parametrize("name", cases(1, 3))
def test_weights_find_their_places(name: str) -> None:
    case = Case(name)
    weights = weights_of(with_no_use(state_dict_of(case)), case.spec(), "it")
    expected = state(case)
    assert weights.keys() == expected.keys()
    for own, value in expected.items():
        np.testing.assert_array_equal(weights[own].numpy(), value, err_msg=own)


# ---------------------------------------------------------------- a run


def importable() -> list[str]:
    """Cases that a preset and a size describe, one of each preset."""
    found: dict[str, str] = {}
    for name in cases(1, 3):
        if not name:
            return [""]
        case = Case(name)
        about = case.model
        size = SIZES.get(about.get("size"), (0, 0, 0, 0))
        if ("hidden" not in about or about["layers"] == size[3]) and "rule" not in case.about and "edges1" not in case:
            found.setdefault(case.preset, name)
    return list(found.values())


@pytest.mark.parametrize("name", importable())
def test_an_imported_run_computes_the_authors_logits(name: str, tmp_path: Path, foreign: ModuleType) -> None:
    case = Case(name)
    file = checkpoint(tmp_path / "last.ckpt", with_no_use(state_dict_of(case)))
    report = import_run(file, case.preset, tmp_path / "run", size=case.model.get("size"))
    assert report.trained == {"epochs": 11, "steps": 4711}
    assert {"authors_package.Foreign", "authors_package.ForeignDict"} <= set(report.foreign)
    read = load_checkpoint(tmp_path / "run")
    assert (read.spec.preset, read.spec.training["imported"]["steps"]) == (case.preset, 4711)
    with torch.no_grad():
        logits = read.model().of_batch(batch_of(case)).numpy()  # type: ignore[arg-type]
    np.testing.assert_allclose(logits, case["logits"], rtol=0, atol=1e-4)


def of_pcn(seed: int = 0) -> dict[str, Any]:
    """A state_dict of DG-PCN-SP by the authors' names, with random weights."""
    torch.manual_seed(seed)
    spec = PRESETS["DG-PCN-SP"].spec()
    own = {name: value for name, value in make_model(spec).state_dict().items() if "num_batches" not in name}
    named = {theirs(name, spec): value for name, value in own.items()}
    named["model.embedding.projection.weight"] = own["embedding.weight"].reshape(16, 20, 4, 4)
    return named


@pytest.fixture
def small(tmp_path: Path, foreign: ModuleType) -> Path:
    """A checkpoint of DG-PCN-SP."""
    return checkpoint(tmp_path / "pcn.ckpt", with_no_use(of_pcn()))


def test_the_verb(
    small: Path,
    raw: Path,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """From a file to a run that is listed, evaluated, and refused where another is meant."""
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "store"
    told(capsys, "preprocess", "dvsgesture", "--data", raw, "--out", store)
    given = ("import", small, "--preset", "DG-PCN-SP", "--run", "theirs")
    report = told(capsys, *given, "--data", store)
    assert (report["parameters"], report["steps"], report["epochs"]) == (97_771, 4711, 11)
    assert report["checkpoint"] == "runs/theirs/checkpoint.pt"
    assert len(load_checkpoint(tmp_path / report["checkpoint"]).examples) > 0
    (run,) = told(capsys, "runs")["runs"]
    assert (run["run"], run["preset"], run["seed"], run["step"]) == ("theirs", "DG-PCN-SP", None, 4711)
    assert told(capsys, "evaluate", "theirs", "--data", store, "--split", "test")["samples"] == 6
    assert execute([*map(str, given)]) == 0  # the same once more
    assert "97,771 parameters, trained for 11 epochs, 4711 steps" in (said := capsys.readouterr().out)
    assert "not looked at: authors_package.Foreign, " in said
    assert execute(["train", "DG-PCN-SP", "--data", str(store), "--run", "theirs"]) == 2
    assert "holds a run that was imported: give another --run, or remove it." in capsys.readouterr().err


def test_an_imported_run_is_exported(tmp_path: Path, foreign: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    """A bundle with room for as many tokens as are asked for computes the authors' logits from a clip's events."""
    needs("onnxscript")
    name = next(name for name in importable() if not name or "-T-" in Case(name).preset)
    case = Case(name)
    size = case.model["size"]
    file = checkpoint(tmp_path / "t.ckpt", state_dict_of(case))
    given = ["import", str(file), "--preset", case.preset, "--size", size, "--run", str(tmp_path / "run")]
    assert execute(given) == 0
    room, out = int(case["length"].max()) + 3, tmp_path / "bundle"
    assert execute(["export", str(tmp_path / "run"), "--out", str(out), "--tokens", str(room)]) == 0
    reference = Reference(Bundle.load(out))
    for number, until, logits in zip(case["clip"], case["time_until"], case["logits"], strict=True):
        events = clip(number)
        np.testing.assert_allclose(reference.compute(events[events["t"] < until]).logits, logits, rtol=0, atol=1e-4)


def test_a_run_is_fed_as_the_authors_do_when_asked_for(small: Path, tmp_path: Path) -> None:
    rules = {}
    for compat in (None, "authors"):
        import_run(small, "DG-PCN-SP", tmp_path / str(compat), compat=compat)
        read = load_checkpoint(tmp_path / str(compat)).spec
        assert isinstance(read.model, Pcn)
        rules[compat] = read.model.rule
        assert json.loads((tmp_path / str(compat) / "run.json").read_text())["compat"] == compat
    assert rules == {None: "nearest", "authors": "lowest"}
    with pytest.raises(UsageError, match="There is no compatibility with 'us'"):
        import_run(small, "DG-PCN-SP", tmp_path / "run", compat="us")


# ---------------------------------------------------------------- what a file must not do


class Strike:
    """Does something when it is unpickled by an ordinary reader."""

    def __init__(self, call: Any, *arguments: Any) -> None:
        self.made_of = call, arguments

    def __reduce__(self) -> Any:
        return self.made_of


@pytest.mark.parametrize("place", ["state_dict", "hyper_parameters", "optimizer_states", "whole"])
def test_nothing_that_is_pickled_is_run(place: str, tmp_path: Path, foreign: ModuleType) -> None:
    mark = tmp_path / "struck"
    strikes = [
        Strike(os.system, f"touch {mark}"),
        Strike(exec, f"open({str(mark)!r}, 'w')"),
        Strike(eval, f"open({str(mark)!r}, 'w')"),
        Strike(Path.touch, mark),
        Strike(torch.save, 1, str(mark)),
    ]
    weights = of_pcn()
    file = tmp_path / "bad.ckpt"
    if place == "whole":
        torch.save(strikes[0], file)
        with pytest.raises(InputError, match="is no checkpoint of Lightning: it has no state_dict"):
            import_run(file, "DG-PCN-SP", tmp_path / "run")
    else:
        inside = {**weights, "strikes": strikes} if place == "state_dict" else weights
        more = {} if place == "state_dict" else {place: strikes}
        report = import_run(checkpoint(file, inside, **more), "DG-PCN-SP", tmp_path / "run")
        assert {"posix.system", "__builtin__.exec", "__builtin__.eval", "torch.serialization.save"} <= set(
            report.foreign
        )
    assert not mark.exists()
    with contextlib.suppress(ModuleNotFoundError):  # of the authors' package
        torch.load(file, weights_only=False)  # an ordinary reader is struck
    assert mark.exists()


def test_a_tensor_that_is_none_is_no_tensor(tmp_path: Path, foreign: ModuleType) -> None:
    weights = {**of_pcn(), "model.sa1_module.conv.local_nn.lins.1.bias": Foreign()}
    with pytest.raises(InputError, match=r"has no tensor at model\.sa1_module\.conv\.local_nn\.lins\.1\.bias"):
        import_run(checkpoint(tmp_path / "a.ckpt", weights), "DG-PCN-SP", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"model.sa2_module.conv.local_nn.lins.0.bias": None},
            r"lacks model\.sa2_module\.conv\.local_nn\.lins\.0\.bias,",
        ),
        ({"model.extra.weight": torch.zeros(2)}, r"has model\.extra\.weight, which no checkpoint of DG-PCN-SP has"),
        (
            {"model.classifier.lins.2.bias": torch.zeros(19)},
            r"has model\.classifier\.lins\.2\.bias of shape \(19,\), and a checkpoint of DG-PCN-SP \(11,\): give",
        ),
    ],
)
def test_the_first_difference_is_named(
    change: dict[str, Any], sentence: str, tmp_path: Path, foreign: ModuleType
) -> None:
    weights = {name: value for name, value in {**of_pcn(), **change}.items() if value is not None}
    with pytest.raises(InputError, match=sentence):
        import_run(checkpoint(tmp_path / "a.ckpt", weights), "DG-PCN-SP", tmp_path / "run")


@pytest.mark.parametrize(
    ("preset", "size", "code", "sentence"),
    [
        ("DG-PCN-E", None, 4, "lacks model.embedding.embedding.weight, which every checkpoint of DG-PCN-E has"),
        ("DG-GNN-SP", None, 4, "of shape (16, 20, 4, 4), and a checkpoint of DG-GNN-SP (16, 20, 8, 8)"),
        ("SL-PCN-SP", None, 4, "lins.2.weight of shape (11, 128), and a checkpoint of SL-PCN-SP (19, 128)"),
        ("DG-T-SP", "nano", 4, "which every checkpoint of DG-T-SP has: give the --preset that it is of"),
        ("DG-PCN-SP", "nano", 2, "is a pcn, which has no size to choose"),
        ("G1-PCN-SP", None, 2, "is a detector"),
        ("DG-PCN-X", None, 2, "There is no preset 'DG-PCN-X'"),
    ],
)  # fmt: skip
def test_another_preset_is_refused(
    preset: str, size: str | None, code: int, sentence: str, small: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    more = [] if size is None else ["--size", size]
    assert execute(["import", str(small), "--preset", preset, "--run", str(tmp_path / "run"), *more]) == code
    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "run").exists()
    # as the sentences say: with the preset that it is of, all is well
    assert execute(["import", str(small), "--preset", "DG-PCN-SP", "--run", str(tmp_path / "run")]) == 0


def test_a_preset_that_the_file_names_is_believed(tmp_path: Path, foreign: ModuleType) -> None:
    """Voxels and spiking patches cannot be told apart by their tensors."""
    says = {"run": {"names": ["DG-PCN-V", 3]}, "other": Foreign()}
    file = checkpoint(tmp_path / "a.ckpt", of_pcn(), hyper_parameters=says)
    with pytest.raises(InputError, match="says that it is of DG-PCN-V: give that as --preset"):
        import_run(file, "DG-PCN-SP", tmp_path / "run")
    assert import_run(file, "DG-PCN-V", tmp_path / "run").spec.preset == "DG-PCN-V"


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")
def test_other_files_are_named(small: Path, tmp_path: Path) -> None:
    class Model(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    program = tmp_path / "program.pt"
    torch.jit.script(Model()).save(str(program))  # type: ignore[no-untyped-call]
    whole = small.read_bytes()
    files = {
        "nothing": b"",
        "text": b"weights\n",
        "cut": whole[: len(whole) // 2],
        "pickled": pickle.dumps({"state_dict": {}}),
        "end": whole[len(whole) // 2 :],
        "struck": whole[:300] + bytes(300) + whole[600:],
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=rf"{name} is no checkpoint that torch saved \(.+\): copy it again\."):
            import_run(tmp_path / name, "DG-PCN-SP", tmp_path / "run")
    with pytest.raises(InputError, match="is a program of TorchScript"):
        import_run(program, "DG-PCN-SP", tmp_path / "run")
    for missing in (tmp_path / "nowhere.ckpt", tmp_path):
        with pytest.raises(InputError, match=f"There is no file {re.escape(str(missing))}: give a checkpoint"):
            import_run(missing, "DG-PCN-SP", tmp_path / "run")
    for other in ([1, 2], {"state_dict": [1]}, torch.zeros(3)):
        torch.save(other, tmp_path / "other.pt")
        with pytest.raises(InputError, match="no checkpoint of Lightning: it has no state_dict"):
            import_run(tmp_path / "other.pt", "DG-PCN-SP", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_another_checkpoint_is_not_mixed_in(small: Path, tmp_path: Path) -> None:
    import_run(small, "DG-PCN-SP", tmp_path / "run")
    assert load_checkpoint(tmp_path / "run").examples == ()
    other = tmp_path / "other.ckpt"
    torch.save({"state_dict": of_pcn(1)}, other)
    with pytest.raises(UsageError, match=r"holds a run with another file \(pcn\.ckpt, and not other\.ckpt\)"):
        import_run(other, "DG-PCN-SP", tmp_path / "run")
