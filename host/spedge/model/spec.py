"""What a model is, said once: task, representation, family and outputs.

Presets, checkpoints, bundles, the compiler, the reference and the devices all go by a `ModelSpec`. Each of them takes
some models and not others, and says so by `ModelSpec.parts`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar, overload

from spedge.base.errors import InputError, UsageError
from spedge.base.outputs import Output
from spedge.model import document
from spedge.model.parts import (
    MAX_WINDOW,
    Classification,
    Detection,
    Detector,
    EventInput,
    Gnn,
    Model,
    Pcn,
    Representation,
    Sensor,
    Task,
    TokenInput,
    Transformer,
)

SCHEMA = 2
OTHERS = 5  #: numbers of a detector's box besides its classes' logits: dx, dy, log w, log h, objectness


# ---------------------------------------------------------------- the whole


@dataclass(frozen=True)
class State:
    """A tensor that the model gives as `output` and takes as `input` in the next step. It begins as zeros."""

    input: str
    output: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Metric:
    """How good a model is: for example name "top1", the share of `samples` of the split that it classified right."""

    name: str
    value: float
    split: str
    samples: int


_Task = TypeVar("_Task", Classification, Detection)
_Representation = TypeVar("_Representation", TokenInput, EventInput)
_Model = TypeVar("_Model", Transformer, Gnn, Pcn, Detector)


@dataclass(frozen=True)
class ModelSpec:
    """A model's description. `check` says whether it is coherent.

    outputs: what every result has, in this order. state: what is carried from step to step and is in no result.
    training: free: data, seed, time, versions.
    """

    name: str
    preset: str
    sensor: Sensor
    task: Task
    representation: Representation
    model: Model
    outputs: tuple[Output, ...]
    state: tuple[State, ...] = ()
    metric: Metric | None = None
    training: Mapping[str, Any] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.task.labels

    @property
    def token_input(self) -> TokenInput:
        """The representation of a model on tokens. Raises InputError for one on events."""
        if not isinstance(self.representation, TokenInput):
            raise InputError(f"the model '{self.name}' is on {self.representation.type}; this needs one on tokens")
        return self.representation

    @property
    def window(self) -> int | None:
        """The most tokens (or events) that the model sees; None: all of a sample."""
        return self.representation.window if isinstance(self.representation, TokenInput) else self.representation.count

    def plain(self) -> ModelSpec:
        """The description alone, without what a subclass adds to it."""
        return ModelSpec(**{f.name: getattr(self, f.name) for f in fields(ModelSpec)})

    @overload
    def parts(
        self, taker: str, task: type[_Task], representation: type[_Representation], model: type[_Model], /
    ) -> tuple[_Task, _Representation, _Model]: ...

    @overload
    def parts(
        self,
        taker: str,
        task: type[_Task],
        representation: type[_Representation],
        /,
        *models: type[Transformer] | type[Gnn] | type[Pcn],
    ) -> tuple[_Task, _Representation, Transformer | Gnn | Pcn]: ...

    def parts(
        self, taker: str, task: type[_Task], representation: type[_Representation], *models: type[Any]
    ) -> tuple[_Task, _Representation, Any]:
        """Task, representation and family, for one who takes only these. taker: who that is, in a message. models: one
        of them is the family.

        Raises InputError, which says what the taker takes, for a model of another kind.
        """
        mine = self.task, self.representation, self.model
        if (
            isinstance(self.task, task)
            and isinstance(self.representation, representation)
            and isinstance(self.model, models)
        ):
            return self.task, self.representation, self.model
        takes, has = (_kind(*kinds) for kinds in ((task, representation, *models), map(type, mine)))
        other = ""
        if isinstance(self.task, Classification):
            other = ", or 'spedge check --board host', which takes all classifiers"
        raise InputError(f"{taker} takes {takes}, and the model '{self.name}' is {has}: choose another preset{other}.")

    @property
    def encoder(self) -> Transformer | Gnn | Pcn:
        """The family that takes the tokens or events: the model, or what a detector is around."""
        return self.model.encoder if isinstance(self.model, Detector) else self.model

    def window_tokens(self, count: int) -> int:
        """How many of the newest tokens (or events) the model sees when there are `count` since the stream's start.

        With full attention the last T. A causal model cannot forget a single token, so its windows lie end to end:
        after T tokens the next one starts a new window, and times count from that token.
        """
        most = self.window
        if most is None:
            return count
        if isinstance(self.model, Transformer) and self.model.attention == "causal" and count > 0:
            return (count - 1) % most + 1
        return min(count, most)

    def with_window(self, tokens: int) -> ModelSpec:
        """The same with windows of that many tokens. Raises UsageError for a number that cannot be."""
        if not isinstance(self.representation, TokenInput):
            raise UsageError(f"the model '{self.name}' takes events and has no window of tokens")
        if not 0 < tokens <= MAX_WINDOW:
            raise UsageError(f"a window of {tokens} tokens cannot be: give 1 to {MAX_WINDOW}")
        return replace(self, representation=replace(self.representation, window=tokens))

    def check(self) -> None:
        """Raises InputError, with a sentence, when the parts do not fit each other or a number cannot be."""
        for problem in _problems(self):
            raise InputError(f"the model '{self.name}' cannot be: {problem}")


def describe(
    name: str, preset: str, sensor: Sensor, labels: tuple[str, ...], representation: Representation, model: Model
) -> ModelSpec:
    """The description of a classifier, or of a detector where the model is one, with the outputs of its kind. Checked.

    The tokenizer's width and height are set to the sensor's.
    """
    if isinstance(representation, TokenInput):
        tokenizer = replace(representation.tokenizer, width=sensor.width, height=sensor.height)
        representation = replace(representation, tokenizer=tokenizer)
    if not isinstance(model, Detector):
        logits = Output("logits", (len(labels),))
        spec = ModelSpec(name, preset, sensor, Classification(labels), representation, model, (logits,))
    else:
        outputs, state = _of_detector(sensor, representation, model, len(labels))
        task = Detection(labels, model.strides(representation))
        spec = ModelSpec(name, preset, sensor, task, representation, model, outputs, state)
    spec.check()
    return spec


def _kind(task: type, representation: type, *models: type) -> str:
    *others, last = (f"a {model.type}" for model in models)  # type: ignore[attr-defined]
    listed = f"{', '.join(others)} or {last}" if others else last
    return f"{task.type} by {listed} on {representation.type}"  # type: ignore[attr-defined]


# ---------------------------------------------------------------- coherence


def _problems(spec: ModelSpec) -> Iterator[str]:
    for part in (spec.sensor, spec.task, spec.representation, spec.model):
        yield from part.problems()
    yield from _fit_problems(spec)
    yield from _output_problems(spec)
    if spec.metric is not None and not (math.isfinite(spec.metric.value) and spec.metric.samples >= 0):
        yield f"its metric is {spec.metric.value} of {spec.metric.samples} samples"


def _fit_problems(spec: ModelSpec) -> Iterator[str]:
    """Whether sensor, task, representation and model go together."""
    r, m = spec.representation, spec.model
    if isinstance(r, TokenInput) and (r.tokenizer.width, r.tokenizer.height) != (spec.sensor.width, spec.sensor.height):
        yield (
            f"its tokenizer is for {r.tokenizer.width}x{r.tokenizer.height} pixels, "
            f"the sensor has {spec.sensor.width}x{spec.sensor.height}"
        )
    if isinstance(spec.task, Detection) != isinstance(m, Detector):
        yield f"{spec.task.type} by a {m.type}: detection needs a detector around its {m.type}, classification none"
        return
    encoder = spec.encoder
    if isinstance(encoder, Transformer) and isinstance(r, EventInput):
        yield "a transformer takes tokens, not raw events"
    if isinstance(encoder, Transformer) and encoder.attention == "causal":
        if spec.window is None:
            yield "causal attention needs a window of tokens, after which it begins anew"
        elif isinstance(r, TokenInput) and r.origin != "window":
            yield "causal attention counts times from its window's first token, not from a sample's start"
    if m.takes != r.features:
        yield f"its {encoder.type} takes {m.takes} features and its {r.type} have {r.features}"
    if isinstance(m, Detector) and isinstance(spec.task, Detection):
        yield from _detection_problems(spec, spec.task, m)


def _detection_problems(spec: ModelSpec, task: Detection, m: Detector) -> Iterator[str]:
    strides = m.strides(spec.representation)
    if task.strides != strides or m.cell_pixels(spec.representation) % 2:
        yield f"strides of {task.strides} pixels; its grid gives {strides}, and a cell's side has to be even"


def _output_problems(spec: ModelSpec) -> Iterator[str]:
    names = [o.name for o in spec.outputs] + [n for s in spec.state for n in (s.input, s.output)]
    if len(set(names)) != len(names) or not all(names):
        yield f"its outputs and states are called {', '.join(names)}; each needs a name of its own"
    if not all(size > 0 for shape in [t.shape for t in spec.outputs] + [t.shape for t in spec.state] for size in shape):
        yield "an output or a state has a size of 0"
    shapes = {o.name: o.shape for o in spec.outputs}
    classes = len(spec.labels)
    if isinstance(spec.task, Classification):
        if shapes.get("logits") != (classes,):
            yield f"{classes} labels, and no output 'logits' of shape ({classes},)"
        return
    if isinstance(spec.model, Detector):
        outputs, state = _of_detector(spec.sensor, spec.representation, spec.model, classes)
        if shapes.get("head") != outputs[0].shape:
            yield f"its detector gives an output 'head' of shape {outputs[0].shape}, not {shapes}"
        if spec.state != state:
            yield f"its detector carries a state of {state}, not {spec.state}"


def _of_detector(
    sensor: Sensor, representation: Representation, model: Detector, classes: int
) -> tuple[tuple[Output, ...], tuple[State, ...]]:
    """What its steps give, and what they carry on."""
    cells = (*model.grid(sensor, representation), model.hidden)
    state = tuple(State(name, f"{name}_next", cells) for name in ("hidden", "cell"))
    return (Output("head", (model.boxes(sensor, representation), OTHERS + classes)),), state


# ---------------------------------------------------------------- written and read


_NOT_WRITTEN = ("width", "height", "pool_events")  # of the tokenizer: the sensor's, and a device's


def to_document(spec: ModelSpec) -> dict[str, Any]:
    """The description as `json.dumps` takes it, with its schema. Only the fields of ModelSpec, whatever `spec` adds."""
    content: dict[str, Any] = {"schema": SCHEMA, **document.write(spec.plain())}
    tokenizer = content["representation"].get("tokenizer", {})
    for name in _NOT_WRITTEN:
        tokenizer.pop(name, None)
    return content


def from_document(content: Mapping[str, Any]) -> ModelSpec:
    """The description from what `to_document` of this or of an earlier schema gave. Checked.

    Raises ValueError or InputError for anything else.
    """
    schema = content.get("schema")
    if schema == 1:
        return from_schema_1(content)
    if schema != SCHEMA:
        raise ValueError(f"it has schema {schema!r} and this spedge reads 1 to {SCHEMA}: use the spedge that wrote it")
    body = _as_written_now({name: value for name, value in content.items() if name != "schema"})
    representation = body.get("representation")
    if isinstance(representation, Mapping) and isinstance(representation.get("tokenizer"), Mapping):
        sensor = document.parse(Sensor, body.get("sensor"), "sensor")
        not_written = dict(zip(_NOT_WRITTEN, (sensor.width, sensor.height, None), strict=True))
        tokenizer = {**representation["tokenizer"], **not_written}
        body["representation"] = {**representation, "tokenizer": tokenizer}
    spec = document.parse(ModelSpec, body)
    spec.check()
    return spec


def _as_written_now(body: dict[str, Any]) -> dict[str, Any]:
    """Descriptions from before `origin` and `rule` were written, which both followed from something else.

    And of detectors whose outputs were said to be boxes and scores.
    """
    outputs = body.get("outputs")
    if isinstance(outputs, list) and [o.get("name") for o in outputs if isinstance(o, Mapping)] == ["boxes", "scores"]:
        (count, _), (_, classes) = outputs[0]["shape"], outputs[1]["shape"]
        body["outputs"] = [{"name": "head", "shape": [count, OTHERS + classes]}]
    seen, model, training = body.get("representation"), body.get("model"), body.get("training")
    if isinstance(seen, Mapping) and seen.get("type") == TokenInput.type and "window" in seen:
        body["representation"] = {"origin": "sample" if seen["window"] is None else "window", **seen}
    if isinstance(model, Mapping) and model.get("type") in (Gnn.type, Pcn.type):
        authors = isinstance(training, Mapping) and training.get("compat") == "authors"
        body["model"] = {"rule": "lowest" if authors else "nearest", **model}
    return body


def from_schema_1(content: Mapping[str, Any]) -> ModelSpec:
    """A description of schema 1: always a classifier by a transformer on tokens. Read for ever; nobody writes it."""
    old = document.parse(_Schema1, {name: content[name] for name in _Schema1.__dataclass_fields__ if name in content})
    tokenizer = {"duration_us": None, **old.tokenizer}  # all were of the continuous kind
    body = {
        "schema": SCHEMA,
        "name": old.name,
        "preset": old.preset,
        "sensor": old.sensor,
        "task": {"type": Classification.type, "labels": old.labels},
        "representation": {
            "type": TokenInput.type,
            "tokenizer": tokenizer,
            "embedding": old.embedding,
            "window": old.tokens,
        },
        "model": old.encoder,
        "outputs": [{"name": "logits", "shape": [len(old.labels)]}],
        "state": [],
        "metric": None,
        "training": old.training,
    }
    if old.accuracy is not None:
        share = dict(old.accuracy)
        body["metric"] = {"name": "top1", "value": share.pop("top1", None), **share}
    return from_document(body)


@dataclass(frozen=True)
class _Schema1:
    name: str
    preset: str
    sensor: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    embedding: Mapping[str, Any]
    encoder: Mapping[str, Any]
    tokens: int
    labels: tuple[str, ...]
    accuracy: Mapping[str, Any] | None
    training: Mapping[str, Any]
