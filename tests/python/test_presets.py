"""The presets as data: the paper's table, and what ours are."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace

import pytest

from spedge.base.errors import UsageError
from spedge.model.parts import Detector, EventInput, TokenInput, Transformer
from spedge.model.spec import from_document, to_document
from spedge.training.data.registry import MODULES, describe_data, load_dataset
from spedge.training.presets import PRESETS, SIZES, Preset, preset
from tests.needs import needs

PAPER = {name: p for name, p in PRESETS.items() if name[:2] in ("DG", "SL", "G1")}
DETECTORS = [name for name in PRESETS if name[:2] in ("G1", "ET", "MP")]


def test_the_paper_has_27_experiments() -> None:
    assert len(PAPER) == 27
    assert Counter(name.split("-")[0] for name in PAPER) == {"DG": 9, "SL": 9, "G1": 9}
    assert Counter(name.split("-", 1)[1] for name in PAPER) == Counter(
        dict.fromkeys(("T-SP", "T-V", "T-F", "GNN-SP", "GNN-V", "GNN-E", "PCN-SP", "PCN-V", "PCN-E"), 3)
    )


@pytest.mark.parametrize("name", list(PRESETS))
def test_every_preset_describes_a_model_that_can_be(name: str) -> None:
    spec = PRESETS[name].spec()
    assert (spec.name, spec.preset) == (name, name)
    assert from_document(json.loads(json.dumps(to_document(spec)))) == spec
    data = describe_data(PRESETS[name].dataset)
    assert (spec.sensor, spec.labels) == (data.sensor, data.labels)
    assert isinstance(spec.model, Detector) == (name in [*DETECTORS, "nmnist-det-pico"])
    assert isinstance(spec.representation, EventInput) == name.endswith("-E")


def row(name: str) -> tuple[object, ...]:
    """What the paper's table says of an experiment."""
    p = PRESETS[name]
    r = p.representation
    training = (p.recipe.batch, p.recipe.accumulate, p.recipe.steps, p.recipe.learning_rate, p.recipe.precision)
    if isinstance(r, EventInput):
        return (r.count, r.keep, r.time_scale_us, *training)
    t = r.tokenizer
    period = t.duration_us or t.absolute_refractory_us
    return (t.patch_size, t.kind, t.threshold, period, r.embedding.time_scale_us, *training)


def test_rows_of_the_paper() -> None:
    assert row("DG-T-SP") == (16, "continuous", 256.0, 0, 50_000.0, 72, 1, 20_000, 1e-4, "fp16")
    assert row("SL-T-V") == (16, "voxel", 1.0, 100_000, 50_000.0, 36, 2, 5_000, 1e-4, "fp16")
    assert row("SL-T-F") == (16, "voxel", 0.0, 1_000_000, 50_000.0, 72, 1, 15_000, 1e-4, "fp16")
    assert row("DG-GNN-SP") == (8, "continuous", 25.0, 0, 25_000.0, 72, 1, 20_000, 1e-3, "fp32")
    assert row("SL-GNN-E") == (10_000, "first", 10_000.0, 36, 2, 30_000, 1e-3, "fp32")
    assert row("DG-PCN-V") == (4, "voxel", 1.0, 50_000, 10_000.0, 36, 2, 20_000, 1e-3, "fp16")
    assert row("SL-PCN-E") == (10_000, "first", 10_000.0, 72, 1, 30_000, 1e-3, "fp16")
    assert row("G1-T-SP") == (16, "continuous", 250.0, 25_000, 50_000.0, 16, 1, 400_000, 1e-4, "fp16")
    assert row("G1-GNN-V") == (8, "voxel", 1.0, 25_000, 10_000.0, 16, 1, 400_000, 1e-3, "fp32")
    assert row("G1-GNN-E") == (2_000, "last", 5_000.0, 16, 1, 400_000, 1e-3, "fp32")
    assert row("G1-PCN-E") == (10_000, "last", 10_000.0, 16, 1, 400_000, 1e-3, "fp16")


#: Parameters by family and what it sees, on DvsGesture's 11 classes and SL-Animals' 19.
COUNTS = {
    "T-SP": (88_998_155, 89_004_307), "T-V": (88_998_155, 89_004_307), "T-F": (88_998_155, 89_004_307),
    "GNN-SP": (2_611_600, 2_612_624), "GNN-V": (2_611_600, 2_612_624), "GNN-E": (2_591_136, 2_592_160),
    "PCN-SP": (97_771, 98_803), "PCN-V": (97_771, 98_803), "PCN-E": (92_667, 93_699),
}  # fmt: skip
#: Of transformers of another size.
SIZE_COUNTS = {
    "nano": (1_187_211, 1_188_243), "tiny": (5_004_299, 5_006_355), "small": (34_152_971, 34_157_075),
    "base": (88_998_155, 89_004_307),
}  # fmt: skip


def count(preset: Preset) -> int:
    needs("torch")
    import torch

    from spedge.training.models.registry import make_model

    with torch.device("meta"):
        return sum(p.numel() for p in make_model(preset.spec()).parameters())


@pytest.mark.parametrize("name", [name for name in PAPER if name[:2] != "G1"])
def test_parameters_of_the_papers_classifiers(name: str) -> None:
    data, kind = name.split("-", 1)
    assert count(PRESETS[name]) == COUNTS[kind][data == "SL"]


@pytest.mark.parametrize("size", SIZE_COUNTS)
def test_parameters_of_transformers_of_other_sizes(size: str) -> None:
    assert tuple(count(PRESETS[f"{data}-T-V"].with_size(size)) for data in ("DG", "SL")) == SIZE_COUNTS[size]


#: Parameters of a detector's encoder, and of what stands on it.
ENCODER_COUNTS = {
    "T-SP": 88_989_696, "T-V": 88_989_696, "T-F": 88_989_696, "GNN-SP": 2_610_192, "GNN-V": 2_610_192,
    "GNN-E": 2_589_728, "PCN-SP": 78_688, "PCN-V": 78_688, "PCN-E": 58_224,
}  # fmt: skip
ABOVE = {"T": 51_371_541, "GNN": 8_408_981, "PCN": 8_408_981}
_OF_A_CLASS = 3 * 257  # each level has a weight for each of 256 features, and a bias


@pytest.mark.parametrize("name", DETECTORS)
def test_parameters_of_the_papers_detectors(name: str) -> None:
    kind = name.split("-", 1)[1]
    more_classes = len(PRESETS[name].spec().labels) - 2  # than GEN1, of which the counts are
    assert count(PRESETS[name]) == ENCODER_COUNTS[kind] + ABOVE[kind.split("-")[0]] + more_classes * _OF_A_CLASS


def test_larger_sensors_have_gen1s_detector() -> None:
    ours = PRESETS["G1-T-SP"]
    for name, data in (("ET-T-SP", "etram"), ("MP-T-SP", "1mpx")):
        assert PRESETS[name] == replace(ours, name=name, dataset=data)
        assert PRESETS[name].spec().sensor != ours.spec().sensor


def test_a_preset_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match="There is no preset 'DG-T-XL'"):
        preset("DG-T-XL")


def test_presets_and_sizes() -> None:
    assert SIZES["pico"] == (64, 128, 4, 2)
    assert SIZES["base"] == (768, 3072, 12, 12)
    chosen = preset("nmnist-pico")
    seen = chosen.representation
    assert isinstance(seen, TokenInput)
    assert (seen.tokenizer.patch_size, seen.tokenizer.threshold, seen.window) == (4, 48.0, 128)
    assert (seen.embedding.buckets, seen.embedding.time_scale_us) == (6, 10_000.0)
    with pytest.raises(UsageError, match="gestures-pico"):
        preset("nmnist-giga")


def test_data_sets_by_name() -> None:
    assert {name: len(describe_data(name).labels) for name in MODULES if name != "folder"} == {
        "gestures": 11, "gestures-320": 11, "nmnist": 10, "dvsgesture": 11, "slanimals": 19, "gen1": 2, "1mpx": 3,
        "etram": 3, "nmnist-det": 10,
    }  # fmt: skip
    with pytest.raises(
        UsageError,
        match=r"GEN1 .* has boxes and no classes of whole recordings. Choose one of: gestures, gestures-320, nmnist",
    ):
        load_dataset("gen1", "data")
    with pytest.raises(UsageError, match="no data set 'imagenet'"):
        describe_data("imagenet")
    with pytest.raises(UsageError, match="give its directory or zip file"):
        load_dataset("nmnist", None)


def test_other_sizes_attention_and_windows_are_for_those_that_have_them() -> None:
    causal = PRESETS["nmnist-pico"].with_attention("causal").with_tokens(64)
    assert isinstance(causal.model, Transformer)
    assert isinstance(causal.representation, TokenInput)
    assert (causal.model.attention, causal.representation.window) == ("causal", 64)
    with pytest.raises(UsageError, match="nmnist-pico has 1 to 128"):
        PRESETS["nmnist-pico"].with_tokens(129)
    with pytest.raises(UsageError, match="has no attention"):
        PRESETS["DG-GNN-SP"].with_attention("causal")
    with pytest.raises(UsageError, match="no window of tokens"):
        PRESETS["DG-GNN-E"].with_tokens(64)
    for name in PRESETS:
        if name in DETECTORS and "-T-" in name:
            detector = PRESETS[name].with_size("nano").spec()
            assert isinstance(detector.model, Detector)
            assert (detector.model.encoder, detector.model.hidden) == (Transformer(*SIZES["nano"]), 128)
            assert PRESETS[name].with_size("base") == PRESETS[name]
        elif "-T-" in name:
            nano = PRESETS[name].with_size("nano").spec()
            assert (nano.model, nano.token_input.embedding.hidden) == (Transformer(*SIZES["nano"]), 128)
            assert PRESETS[name].with_size("base") == PRESETS[name]
    assert causal.with_size("tiny").model == replace(Transformer(*SIZES["tiny"]), attention="causal")
    with pytest.raises(UsageError, match=r"no size 'huge'\. Choose one of: pico, nano, tiny, small, base"):
        causal.with_size("huge")
    for data in ("SL", "G1"):
        with pytest.raises(UsageError, match=f"'{data}-PCN-V' is a pcn, which has no size to choose"):
            PRESETS[f"{data}-PCN-V"].with_size("nano")
    assert PRESETS["DG-T-SP"].with_tokens(200).spec().window == 200
