"""A model is described once: each kind is read as written, what does not fit is refused, a taker says what it takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spedge.base.errors import InputError, UsageError
from spedge.base.outputs import Output, by_name
from spedge.model.bundle import Bundle
from spedge.model.parts import (
    Classification,
    Detection,
    Detector,
    Embedding,
    EventInput,
    Gnn,
    Model,
    Pcn,
    Representation,
    Sensor,
    TokenInput,
    Transformer,
)
from spedge.model.spec import Metric, ModelSpec, State, describe, from_document, to_document
from spedge.tokens.settings import TokenizerSettings

SENSOR = Sensor(304, 240)
LABELS = ("car", "pedestrian")
SCHEMA_1 = Path(__file__).parents[1] / "golden" / "schema-1"

CONTINUOUS = TokenizerSettings(patch_size=16, threshold=250.0, absolute_refractory_us=25_000)
DISCRETE = TokenizerSettings(patch_size=8, threshold=25.0, kind="discrete", duration_us=50_000)
VOXELS = TokenizerSettings(patch_size=16, threshold=0.0, kind="voxel", duration_us=50_000)
TRANSFORMER = Transformer(128, 256, 4, 4)
GNN = Gnn(3.0, 9.0, 0.1)
PCN = Pcn((1.0, 6.0), (0.5, 0.75))


def tokens(settings: TokenizerSettings = CONTINUOUS, hidden: int = 128, window: int | None = None) -> TokenInput:
    return TokenInput(settings, Embedding(10, hidden, 50_000.0), window)


KINDS: list[tuple[Representation, Model]] = [
    (tokens(window=128), TRANSFORMER),
    (tokens(window=64), replace(TRANSFORMER, attention="causal")),
    (tokens(VOXELS), TRANSFORMER),
    (tokens(DISCRETE, 16), GNN),
    (tokens(DISCRETE, 16), PCN),
    (EventInput(10_000), GNN),
    (EventInput(2_000, "last"), PCN),
    (tokens(), Detector(TRANSFORMER, 128)),
    (tokens(VOXELS, 16), Detector(GNN, 128, odd_grid="crop")),
    (EventInput(2_000, "last"), Detector(PCN, 128, cell=8)),
]


def made(representation: Representation, model: Model) -> ModelSpec:
    return describe("a model", "a preset", SENSOR, LABELS, representation, model)


CLASSIFIER = made(*KINDS[0])
DETECTOR = made(*KINDS[7])


@pytest.mark.parametrize(("representation", "model"), KINDS)
def test_every_kind_is_read_as_it_was_written(representation: Representation, model: Model) -> None:
    spec = made(representation, model)
    full = replace(spec, metric=Metric("mAP@.50", 0.25, "val", 470), training={"seed": 3, "data": {"name": "x"}})
    for one in (spec, full):
        assert from_document(json.loads(json.dumps(to_document(one)))) == one


def test_a_document_says_the_sensor_once() -> None:
    document = to_document(CLASSIFIER)
    assert (document["schema"], document["sensor"]) == (2, {"width": 304, "height": 240})
    assert not {"width", "height", "pool_events"} & set(document["representation"]["tokenizer"])
    assert document["task"] == {"type": "classification", "labels": ["car", "pedestrian"]}
    assert document["outputs"] == [{"name": "logits", "shape": [2]}]


def test_outputs_and_state_of_a_detector() -> None:
    """GEN1: 15x19 patches, padded to 16x20 and in three sizes; the state is of the grid as it is."""
    boxes = 32 * 40 + 16 * 20 + 8 * 10
    assert DETECTOR.outputs == (Output("head", (boxes, 7)),)
    assert DETECTOR.state == (State("hidden", "hidden_next", (15, 19, 128)), State("cell", "cell_next", (15, 19, 128)))
    assert DETECTOR.task == Detection(LABELS, (8, 16, 32))
    cropped = made(tokens(), Detector(TRANSFORMER, 128, odd_grid="crop"))
    assert cropped.outputs[0].shape == (28 * 36 + 14 * 18 + 7 * 9, 7)
    events = made(*KINDS[9])
    assert isinstance(events.model, Detector)
    assert events.model.grid(SENSOR, events.representation) == (30, 38)
    assert events.task == Detection(LABELS, (4, 8, 16))


def test_a_detector_said_to_give_boxes_and_scores_is_read() -> None:
    document = to_document(DETECTOR)
    boxes = DETECTOR.outputs[0].shape[0]
    document["outputs"] = [{"name": "boxes", "shape": [boxes, 4]}, {"name": "scores", "shape": [boxes, 2]}]
    assert from_document(document) == DETECTOR


def changed(spec: ModelSpec, **values: Any) -> ModelSpec:
    """With fields at any depth: representation__window=3."""
    for path, value in values.items():
        names = path.split("__")
        parents: list[Any] = [spec]
        for name in names[:-1]:
            parents.append(getattr(parents[-1], name))
        for parent, name in zip(reversed(parents), reversed(names), strict=True):
            value = replace(parent, **{name: value})
        spec = value
    return spec


REFUSED: list[tuple[ModelSpec, str]] = [
    (changed(CLASSIFIER, sensor=Sensor(0, 240)), "a sensor of 0x240"),
    (changed(CLASSIFIER, sensor=Sensor(128, 128)), "for 304x240 pixels, the sensor has 128x128"),
    (changed(CLASSIFIER, task=Classification(())), "labels have to be"),
    (changed(CLASSIFIER, task=Classification(("a", "a"))), "all different"),
    (changed(CLASSIFIER, task=Classification(("a", "b", "c"))), "3 labels, and no output 'logits'"),
    (changed(CLASSIFIER, outputs=(Output("score", (2,)),)), "no output 'logits' of shape"),
    (changed(CLASSIFIER, outputs=(*CLASSIFIER.outputs, *CLASSIFIER.outputs)), "each needs a name of its own"),
    (changed(CLASSIFIER, outputs=(*CLASSIFIER.outputs, Output("map", (3, 0)))), "size of 0"),
    (changed(CLASSIFIER, representation__tokenizer__threshold=0.0), "threshold=0.0 is out of range"),
    (changed(CLASSIFIER, representation__tokenizer__kind="frame"), "no tokenizer kind 'frame'"),
    (changed(CLASSIFIER, representation__tokenizer__duration_us=5), "duration_us means nothing"),
    (changed(CLASSIFIER, representation__tokenizer__pool_events=64), "which a device has"),
    (changed(CLASSIFIER, representation__window=0), "window has 0 tokens"),
    (changed(CLASSIFIER, representation__embedding__buckets=33), "embedding.buckets is 33"),
    (changed(CLASSIFIER, representation__embedding__hidden=64), "takes 128 features and its tokens have 64"),
    (changed(CLASSIFIER, representation__embedding__time_scale_us=float("nan")), "embedding.time_scale_us is nan"),
    (changed(CLASSIFIER, representation=EventInput(100)), "a transformer takes tokens, not raw events"),
    (changed(made(*KINDS[1]), representation__window=None), "causal attention needs a window"),
    (changed(CLASSIFIER, model__heads=3), "3 heads do not divide 128"),
    (changed(CLASSIFIER, model__layers=0), "transformer.layers is 0"),
    (changed(CLASSIFIER, model__attention="some"), "choose one of full, causal"),
    (changed(CLASSIFIER, model=Detector(TRANSFORMER, 128)), "classification by a detector"),
    (changed(CLASSIFIER, metric=Metric("top1", float("inf"), "test", 3)), "its metric is inf"),
    (changed(made(*KINDS[3]), model__fps_ratio=1.5), "more than 0 and at most 1"),
    (changed(made(*KINDS[3]), model__node_radius=-1.0), "gnn.node_radius is -1.0"),
    (changed(made(*KINDS[3]), model__channels=(16,)), "at least two channels"),
    (changed(made(*KINDS[4]), model__radii=(1.0,)), "1 radii, 2 ratios and 3 channels"),
    (changed(made(*KINDS[5]), representation__keep="some"), "keep the first or the last"),
    (changed(made(*KINDS[5]), representation__count=0), "events.count is 0"),
    (changed(DETECTOR, model=TRANSFORMER), "detection by a transformer"),
    (changed(DETECTOR, model__odd_grid="stretch"), "choose pad or crop"),
    (changed(DETECTOR, model__encoder__layers=0), "transformer.layers is 0"),
    (changed(DETECTOR, task__strides=(4, 8, 16)), "its grid gives (8, 16, 32)"),
    (changed(DETECTOR, task__nms_iou=1.5), "which are 0 to 1"),
    (changed(DETECTOR, task__step_us=0), "detection.step_us is 0"),
    (changed(DETECTOR, outputs=(Output("head", (1680, 6)),)), "gives an output 'head' of shape (1680, 7)"),
    (changed(DETECTOR, outputs=(Output("boxes", (1680, 7)),)), "gives an output 'head' of shape (1680, 7)"),
    (changed(DETECTOR, state=()), "carries a state of"),
    (changed(DETECTOR, state=(State("head", "x", (1,)),)), "each needs a name of its own"),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_what_does_not_fit_is_refused(spec: ModelSpec, sentence: str) -> None:
    with pytest.raises(InputError, match="the model 'a model' cannot be: ") as caught:
        spec.check()
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("task"), "task is missing"),
        (lambda d: d.update(colour="red"), "colour is unknown"),
        (lambda d: d.update(schema=3), "has schema 3 and this spedge reads 1 to 2"),
        (lambda d: d.update(name=7), "name is 7, not text"),
        (lambda d: d.update(sensor=[1, 2]), "sensor is .*, not an object"),
        (lambda d: d["sensor"].update(width=True), "sensor.width is True, not a whole number"),
        (lambda d: d["task"].update(type="guessing"), "task.type is 'guessing', not one of classification, detection"),
        (lambda d: d["task"].update(labels="ab"), "task.labels is 'ab', not a list"),
        (lambda d: d["model"].pop("layers"), "model.layers is missing"),
        (lambda d: d["model"].update(type="gnn"), "model.node_radius is missing"),
        (
            lambda d: d["representation"]["tokenizer"].pop("patch_size"),
            "representation.tokenizer.patch_size is missing",
        ),
        (lambda d: d["representation"]["tokenizer"].update(threshold="3"), "tokenizer.threshold is '3', not a number"),
        (lambda d: d["outputs"].append(3), "outputs is 3, not an object"),
        (lambda d: d.update(metric=0.5), "metric is 0.5, not an object"),
        (lambda d: d.update(training=[]), "training is .*, not an object"),
    ],
)
def test_a_document_of_something_else_names_the_place(change: Any, words: str) -> None:
    document = json.loads(json.dumps(to_document(CLASSIFIER)))
    change(document)
    with pytest.raises(ValueError, match=words):
        from_document(document)


def test_a_taker_says_what_it_takes() -> None:
    task, seen, model = CLASSIFIER.parts("the compiler", Classification, TokenInput, Transformer)
    assert (task, seen, model) == (CLASSIFIER.task, CLASSIFIER.representation, CLASSIFIER.model)
    with pytest.raises(InputError) as caught:
        DETECTOR.parts("the compiler", Classification, TokenInput, Transformer)
    assert str(caught.value) == (
        "the compiler takes classification by a transformer on tokens, and the model 'a model' is detection by a "
        "detector on tokens: choose another preset."
    )


def test_windows() -> None:
    causal, events, whole = made(*KINDS[1]), made(*KINDS[6]), made(*KINDS[3])
    assert [CLASSIFIER.window_tokens(n) for n in (0, 5, 128, 129, 400)] == [0, 5, 128, 128, 128]
    assert [causal.window_tokens(n) for n in (0, 1, 64, 65, 130)] == [0, 1, 64, 1, 2]
    assert [events.window_tokens(n) for n in (5, 3000)] == [5, 2000]
    assert whole.window_tokens(3000) == 3000
    assert CLASSIFIER.with_window(7).window == 7
    for bad in (0, 65536):
        with pytest.raises(UsageError, match="give 1 to 65535"):
            CLASSIFIER.with_window(bad)
    with pytest.raises(UsageError, match="no window"):
        events.with_window(7)
    with pytest.raises(InputError, match="needs one on tokens"):
        _ = events.token_input


def test_numbers_by_name() -> None:
    outputs = (Output("boxes", (2, 3)), Output("score", ()), Output("classes", (2,)))
    tensors = by_name(np.arange(9, dtype=np.float32), outputs)
    assert {name: value.tolist() for name, value in tensors.items()} == {
        "boxes": [[0, 1, 2], [3, 4, 5]],
        "score": 6,
        "classes": [7, 8],
    }


# ---------------------------------------------------------------- schema 1, for ever


def test_a_bundle_of_schema_1_is_read() -> None:
    """As spedge wrote it before there was a schema 2."""
    bundle = Bundle.load(SCHEMA_1)
    settings = TokenizerSettings(10, 6, 4, 3.0, 5, 7, 0.25, 0.001)
    assert bundle.plain() == ModelSpec(
        "tiny",
        "none",
        Sensor(10, 6),
        Classification(("left", "right")),
        TokenInput(settings, Embedding(2, 8, 1000.0), 5),
        Transformer(8, 16, 2, 1, "causal"),
        (Output("logits", (2,)),),
        metric=Metric("top1", 0.9, "test", 10),
        training={"seed": 3},
    )
    assert bundle.vectors()[0].logits.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.pop("tokens"), "tokens is missing"),
        (lambda d: d.update(labels="ab"), "labels is 'ab', not a list"),
        (lambda d: d["tokenizer"].update(kind="frame"), "no tokenizer kind 'frame'"),
        (lambda d: d["tokenizer"].pop("threshold"), "tokenizer.threshold is missing"),
        (lambda d: d["encoder"].update(heads=3), "3 heads do not divide 8"),
        (lambda d: d["encoder"].update(type="rnn"), "model.type is 'rnn'"),
        (lambda d: d.update(accuracy=0.5), "accuracy is 0.5, not an object"),
        (lambda d: d["accuracy"].pop("top1"), "metric.value is None"),
    ],
)
def test_schema_1_is_checked_as_well(change: Any, words: str) -> None:
    document = json.loads((SCHEMA_1 / "bundle.json").read_text())
    change(document)
    with pytest.raises((ValueError, InputError), match=words):
        from_document({name: value for name, value in document.items() if name not in ("files", "hash")})


@pytest.mark.parametrize(("compat", "rule"), [(None, "nearest"), ("authors", "lowest")])
def test_descriptions_from_before_origin_and_rule_are_read(compat: str | None, rule: str) -> None:
    """What they say now followed from the window and the training."""
    for representation, model in KINDS[:7]:
        spec = replace(made(representation, model), training={"compat": compat} if compat else {})
        document = json.loads(json.dumps(to_document(spec)))
        document["representation"].pop("origin", None)
        document["model"].pop("rule", None)
        read = from_document(document)
        if isinstance(read.representation, TokenInput):
            assert read.representation.origin == ("sample" if read.representation.window is None else "window")
        if isinstance(read.model, Gnn | Pcn):
            assert read.model.rule == rule


def test_times_and_rules_that_cannot_be_are_named() -> None:
    for representation, model, words in (
        (replace(tokens(window=4), origin="start"), TRANSFORMER, "times count from the 'start'"),
        (
            replace(tokens(window=4), origin="sample"),
            replace(TRANSFORMER, attention="causal"),
            "causal attention counts",
        ),
        (EventInput(9), replace(GNN, rule="oldest"), "by the rule 'oldest'"),
    ):
        with pytest.raises(InputError, match=words):
            made(representation, model)
