"""Is a bundle on this machine what training computed? Without a device, for classifiers of all families.

Two questions. Of the samples that the bundle keeps: are tokens, graphs, embeddings and logits what torch and the C
library computed when it was exported, here and now too? Of recordings: do the two roads to the logits meet? One is that
of training, the host's fast tokenizer and model.onnx; the other that of a device, the devices' own tokenizer, its
embedding in C, and encoder.onnx.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from spedge.base.errors import InputError
from spedge.events.arrays import copied
from spedge.jobs.check import LOGITS_TOLERANCE, token_difference
from spedge.jobs.play import load_events
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle, Vector
from spedge.model.graph import edges_of, graph_numbers
from spedge.model.parts import TokenInput
from spedge.model.reference import Reference
from spedge.recordings import PLAIN, Reading
from spedge.tokens.settings import TokenizerSettings
from spedge.tokens.tokenizer import Tokens

SCHEMA = 1
HOST = "host"  #: in the place of a board's name


class OneCheck(Protocol):
    """One sample of the bundle, or one recording. problem: the first thing that is wrong, None when all is well."""

    @property
    def name(self) -> str: ...

    @property
    def problem(self) -> str | None: ...

    def to_json(self) -> dict[str, Any]:
        """What else there is to say of it, for the report's document."""


_Check = TypeVar("_Check", bound=OneCheck)


@dataclass(frozen=True)
class HostReport(Generic[_Check]):
    """All samples of the bundle, then the recordings."""

    bundle: str
    samples: tuple[_Check, ...]

    @property
    def passed(self) -> bool:
        return bool(self.samples) and all(sample.problem is None for sample in self.samples)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON document. A difference that is no number is null."""
        rows = [
            {"name": s.name, "passed": s.problem is None, "problem": s.problem, **s.to_json()} for s in self.samples
        ]
        return {"schema": SCHEMA, "board": HOST, "bundle": self.bundle, "passed": self.passed, "samples": rows}


@dataclass(frozen=True)
class SampleCheck:
    """One sample of the bundle, or one recording. problem: the first thing that is wrong, None when all is well.

    tokens: how many, or events that the model keeps. edges: of its graphs, None without graphs. embedded_diff,
    logits_diff: largest difference from what was kept, or between the two roads; nan where it cannot be told.
    """

    name: str
    events: int
    tokens: int
    edges: int | None
    embedded_diff: float
    logits_diff: float
    label: str
    problem: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "events": self.events,
            "tokens": self.tokens,
            "edges": self.edges,
            "embedded_max_abs_diff": number_or_none(self.embedded_diff),
            "logits_max_abs_diff": number_or_none(self.logits_diff),
            "label": self.label,
        }


def check_host(
    bundle: Bundle,
    recordings: Sequence[Path] = (),
    reading: Reading = PLAIN,
    on_progress: Callable[[str], None] | None = None,
) -> HostReport[SampleCheck]:
    """Compute the bundle's samples again, and the recordings by two roads.

    Raises InputError for a bundle that keeps no samples where there are no recordings either, and for recordings as
    `load_events` does. Differences are in the report.
    """
    reference = Reference(bundle)

    def of_recording(events: NDArray[np.void], name: str) -> SampleCheck:
        return _of_events(reference, _from_its_start(events, bundle), name)

    return check_each(bundle, recordings, reading, on_progress, partial(_of_vector, reference), of_recording)


def check_each(
    bundle: Bundle,
    recordings: Sequence[Path],
    reading: Reading,
    on_progress: Callable[[str], None] | None,
    of_sample: Callable[[Vector, str], _Check],
    of_recording: Callable[[NDArray[np.void], str], _Check],
) -> HostReport[_Check]:
    """All samples that the bundle keeps, then the recordings, by their names. Raises InputError as `check_host`."""
    say = on_progress or (lambda _: None)
    vectors = bundle.vectors()
    if not vectors and not recordings:
        raise InputError(f"the bundle {bundle.name!r} keeps no samples to compare with: export it again")
    checked = []
    for number, vector in enumerate(vectors, 1):
        say(f"sample {number} of {len(vectors)}")
        checked.append(of_sample(vector, f"sample {number}"))
    for path in recordings:
        say(f"computing {path.name}")
        checked.append(of_recording(load_events(path, bundle, reading), path.name))
    return HostReport(bundle.name, tuple(checked))


def _of_vector(reference: Reference, vector: Vector, name: str) -> SampleCheck:
    computed = reference.compute(vector.events)
    tokens, graph = computed.tokens, reference.graph(computed.tokens)
    numbers = {} if graph is None else graph_numbers(graph)
    embedded = difference(vector.embedded, reference.encoder_input(tokens))
    diffs = {
        f"{output} by {road}": difference(vector.outputs[output], values)
        for road, outputs in (("model.onnx", computed.outputs), ("encoder.onnx", reference.encoded(tokens)))
        for output, values in outputs.items()
    }

    def problems() -> Iterator[str]:
        if not same_tokens(vector.tokens, tokens):
            yield f"its tokens are not those that were kept: {len(vector.tokens)} then, {len(tokens)} here"
        for part, there in vector.graph.items():
            if not np.array_equal(numbers[part], there):
                yield f"its graph differs in '{part}' from the one that was kept"
        if not embedded <= LOGITS_TOLERANCE:
            yield f"its embedded tokens differ by {embedded:.1e}, more than {LOGITS_TOLERANCE:.0e}"
        for output, diff in diffs.items():
            if not diff <= LOGITS_TOLERANCE:
                yield f"its {output} differ by {diff:.1e}, more than {LOGITS_TOLERANCE:.0e}"

    label, _ = reference.bundle.verdict(computed.logits)
    sizes = (len(vector.events), len(tokens), edges_of(graph))
    return SampleCheck(name, *sizes, embedded, max(diffs.values()), label, next(problems(), None))


def _from_its_start(events: NDArray[np.void], bundle: Bundle) -> NDArray[np.void]:
    """A recording is a sample that begins with its first event, for a model whose times count from a sample's start."""
    seen = bundle.representation
    if isinstance(seen, TokenInput) and seen.origin == "window":
        return events
    shifted = copied(events)
    shifted["t"] -= events["t"][0]
    return shifted


def _of_events(reference: Reference, events: NDArray[np.void], name: str) -> SampleCheck:
    computed = reference.compute(events)
    tokens, graph = computed.tokens, reference.graph(computed.tokens)
    there, device = reference.encoded(tokens), _as_on_devices(reference, events, tokens)
    diffs = {output: difference(values, there[output]) for output, values in computed.outputs.items()}

    def problems() -> Iterator[str]:
        if difference := token_difference(as_reported(tokens), as_reported(device)):
            yield f"the host's tokenizer and the devices' differ: {difference}"
        for output, diff in diffs.items():
            if not diff <= LOGITS_TOLERANCE:
                yield f"the {output} of model.onnx and of encoder.onnx differ by {diff:.1e}"

    label, _ = reference.bundle.verdict(computed.logits)
    sizes = (len(events), len(tokens), edges_of(graph))
    return SampleCheck(name, *sizes, float("nan"), max(diffs.values()), label, next(problems(), None))


def _as_on_devices(reference: Reference, events: NDArray[np.void], tokens: Tokens) -> Tokens:
    """What the devices' tokenizer makes of the events when it has memory for all of them."""
    seen = reference.bundle.representation
    if not isinstance(seen, TokenInput):
        return tokens
    return reference.tokenizer(room_for(len(events), seen.tokenizer)).push(events)


def room_for(events: int, settings: TokenizerSettings) -> int:
    """Pool of a device's tokenizer that holds that many events, whichever patches they are in: blocks of 16."""
    return events + 16 * settings.columns * settings.rows


def same_tokens(kept: NDArray[Any], tokens: Tokens) -> bool:
    """Whether they are those that a bundle keeps."""
    return len(kept) == len(tokens) and all(np.array_equal(kept[name], getattr(tokens, name)) for name in "xytn")


def number_or_none(value: float) -> float | None:
    """For a JSON document, which has no nan."""
    return value if math.isfinite(value) else None


def difference(kept: NDArray[np.float32], here: NDArray[np.float32]) -> float:
    """Largest absolute difference; nan where the shapes differ or a number is none."""
    return float(np.abs(kept - here).max(initial=0)) if kept.shape == here.shape else float("nan")
