"""Is what ran on the device what Python computes, and is every event accounted for?"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from spedge.device.open import Device
from spedge.events.evt2 import encode_words
from spedge.events.part import WHOLE, Part
from spedge.jobs.feed import CameraFeed, Feed, LinkFeed
from spedge.jobs.given import Given
from spedge.jobs.play import require_model
from spedge.jobs.results import check_results, largest_difference, output_difference, seen_outputs, window_of
from spedge.link.counts import Stats
from spedge.link.link import LineCounts
from spedge.link.protocol import Configuration, Result
from spedge.link.tokens import as_reported
from spedge.model.bundle import Bundle
from spedge.model.graph import device_words, edges_of
from spedge.model.reference import Computed, Reference
from spedge.recordings import PLAIN, Reading
from spedge.tokens.tokenizer import TokenizerStats, Tokens

SCHEMA = 1
LOGITS_TOLERANCE = 1e-4  #: largest difference of a logit that passes
#: the same for int8: a value whose last digit differs can round to the next 8-bit step, which moves a logit this much
ROUNDED_TOLERANCE = 0.1
QUANTISED = "reference.onnx"  #: beside a compiled model of reduced precision: the encoder that it computes
REPORT_TOKENS = 256  #: tokens a device keeps until they are read
_TOKEN_FIELDS = ("x", "y", "t", "n", "crc")
_SAME_COUNTS = ("taken", "in_tokens", "pending", "refractory", "decayed", "pool_lost", "outside", "backwards", "tokens")


@dataclass(frozen=True)
class StageCosts:
    """Cost of the stages on the device, in the report's unit.

    tokenize: decoding and tokenizing the whole recording. embed: embedding all its tokens, and the window's times.
    encode: one inference.
    """

    tokenize: int
    embed: int
    encode: int


@dataclass(frozen=True, kw_only=True)
class DeviceCheck:
    """One recording, on the host and on the device.

    events_dropped: events in no token and not pending any more, by cause; those of the method (refractory, decayed)
    and those that were lost (the others). problem: the first thing that is wrong, None when all is well.
    line: what the line did to the frames, and what was sent again for it.
    results: inferences that the device made on the way, all of them checked.
    """

    path: Path
    events_sent: int
    events_device: int
    events_pending: int
    events_dropped: dict[str, int]
    tokens_host: int
    tokens_device: int
    tokens_equal: bool
    costs: StageCosts
    problem: str | None
    results: int = 0
    line: LineCounts = field(default_factory=LineCounts)

    @property
    def passed(self) -> bool:
        return self.problem is None

    def differences(self) -> dict[str, Any]:
        """What the model said, for a JSON document."""
        raise NotImplementedError

    def to_json(self, counted: bool) -> dict[str, Any]:
        """counted: whether costs are instructions."""
        costs = {"tokenize": self.costs.tokenize, "embed": self.costs.embed, "encode": self.costs.encode}
        return {
            "path": str(self.path),
            "passed": self.passed,
            "problem": self.problem,
            "events_sent": self.events_sent,
            "events_device": self.events_device,
            "events_pending": self.events_pending,
            "events_dropped": self.events_dropped,
            "tokens_host": self.tokens_host,
            "tokens_device": self.tokens_device,
            "tokens_equal": self.tokens_equal,
            **self.differences(),
            "cost": costs,
            "instructions": costs if counted else dict.fromkeys(costs),
            "frames_resent": self.line.resent,
            "line": asdict(self.line),
            "results": self.results,
        }


@dataclass(frozen=True, kw_only=True)
class RecordingCheck(DeviceCheck):
    """Of a classifier. outputs_max_abs_diff: of each of the model's outputs, the logits among them, by name.

    edges: of a model on graphs, in all graphs of its last window; those of the device are the same where it passed.
    """

    logits_host: NDArray[np.float32]
    logits_device: NDArray[np.float32]
    logits_max_abs_diff: float
    outputs_max_abs_diff: dict[str, float]
    label_host: str
    label_device: str
    edges: int | None = None

    def differences(self) -> dict[str, Any]:
        return {
            "logits_max_abs_diff": number_or_none(self.logits_max_abs_diff),
            "outputs_max_abs_diff": {name: number_or_none(diff) for name, diff in self.outputs_max_abs_diff.items()},
            "label_host": self.label_host,
            "label_device": self.label_device,
            "edges": self.edges,
        }


Checked = TypeVar("Checked", bound=DeviceCheck)


@dataclass(frozen=True)
class Compared:
    """A recording that was checked, for who looks on. events: EVENT_DTYPE, with the times that the device has. tokens:
    the host's. labels: of the logits. host, device: of each result its time, µs, and its logits; those that have none,
    or that the host cannot compute, are missing."""

    check: RecordingCheck
    events: NDArray[np.void]
    tokens: Tokens
    labels: tuple[str, ...]
    host: Sequence[tuple[int, NDArray[np.float32]]]
    device: Sequence[tuple[int, NDArray[np.float32]]]


@dataclass(frozen=True)
class CheckReport(Generic[Checked]):
    """cost_unit: "instructions" on emulated boards, "ns" on `sim`, "cycles" on silicon.

    faults: what was done to the line on purpose, by kind; empty on an honest line.
    """

    board: str
    cost_unit: str
    recordings: tuple[Checked, ...]
    faults: dict[str, int] = field(default_factory=dict)

    @property
    def line(self) -> LineCounts:
        """Sums over the recordings."""
        return LineCounts(*map(sum, zip(*(astuple(recording.line) for recording in self.recordings), strict=True)))

    @property
    def passed(self) -> bool:
        return bool(self.recordings) and all(recording.passed for recording in self.recordings)

    def to_json(self) -> dict[str, Any]:
        """The report as a JSON document.

        "cost" holds the stages in "cost_unit"; "instructions" the same, or null where instructions are not what the
        board counts. A difference that is no number is null.
        """
        return {
            "schema": SCHEMA,
            "board": self.board,
            "passed": self.passed,
            "cost_unit": self.cost_unit,
            "line": asdict(self.line),
            "faults": self.faults,
            "recordings": [recording.to_json(self.cost_unit == "instructions") for recording in self.recordings],
        }


def number_or_none(difference: float) -> float | None:
    return difference if math.isfinite(difference) else None


def tolerance_of(precision: str) -> float:
    """The largest difference of a logit that passes for a model in that precision."""
    return ROUNDED_TOLERANCE if precision == "int8" else LOGITS_TOLERANCE


def encoder_of(bundle: Bundle, target: str, precision: str, say: Callable[[str], None]) -> Path | None:
    """The encoder that a model of reduced precision computes, which is compiled if it is not yet; None for fp32."""
    from spedge.boards.build import compile_model

    return None if precision == "fp32" else compile_model(bundle, target, say, precision) / QUANTISED


def check(
    bundle: Bundle,
    recordings: Sequence[Path],
    device: Device,
    board: str | None = None,
    on_progress: Callable[[str], None] | None = None,
    encoder: Path | None = None,
    tolerance: float = LOGITS_TOLERANCE,
    camera: str | None = None,
    every_us: int = 0,
    every_tokens: int = 0,
    window_us: int = 0,
    reading: Reading = PLAIN,
    events: Mapping[Path, NDArray[np.void]] = MappingProxyType({}),
    watch: Callable[[Compared], None] | None = None,
    part: Part | None = None,
) -> CheckReport[RecordingCheck]:
    """Play each recording to the device, losing nothing, and compare tokens, outputs and counts with the host's.

    device: an open device that holds the bundle's model. board: its name in the report, None for what it says itself.
    encoder: `reference.onnx` of the device's model where that is quantised. tolerance: largest difference of a logit
    that passes; ROUNDED_TOLERANCE is for int8. Other outputs: see `output_difference`.
    camera: a camera of that format (cameras.FORMATS) plays the recordings at the board's camera port, and the host
    sends no event. None: the host sends them.
    every_us, every_tokens, window_us: let the device infer on the way, too, as `Configuration` says, and check each
    result: that it comes when it is due (not with a camera, whose time words the host does not know), its window, its
    outputs.
    reading: how the recordings are opened. events: those of recordings that were read before, as `require_recordings`
    of spedge.jobs.given does.
    watch: is given each recording once it is checked.
    part: of the recordings' sensor that the bundle's is; the device gets all of their events and takes it itself. None:
    the recordings are of the bundle's sensor.
    on_progress gets short sentences. Differences are in the report; DeviceError is raised when the device has
    another model or stops answering, InputError and UsageError as by `given.require_recordings`.
    """
    require_model(device, bundle)
    reference = Reference(bundle, encoder)
    with feed_of(device, camera) as feed:
        configuration = replace(feed.configuration, every_us=every_us, every_tokens=every_tokens, window_us=window_us)
        configuration = replace(configuration, part=part or WHOLE)
        pool = device.configure(configuration).pool_events
        given = Given(bundle, reading, part, events)
        session = _Session(given, reference, device, feed, configuration, pool, tolerance, watch)
        return check_each(recordings, device, board, session.check, on_progress)


@contextlib.contextmanager
def feed_of(device: Device, camera: str | None, grid_us: int = 1) -> Iterator[Feed]:
    """How recordings come to the device. camera: a format, None: the host sends them. grid_us: see LinkFeed."""
    if camera is None:
        yield LinkFeed(device, REPORT_TOKENS, grid_us)
    else:
        with CameraFeed(device, camera, REPORT_TOKENS) as feed:
            yield feed


def check_each(
    recordings: Sequence[Path],
    device: Device,
    board: str | None,
    check_one: Callable[[Path, Callable[[str], None]], Checked],
    on_progress: Callable[[str], None] | None,
) -> CheckReport[Checked]:
    """The report on all recordings, each with what the line did to it. device: in a session."""
    say = on_progress or (lambda _: None)
    checks = []
    before = device.line_counts()
    for number, path in enumerate(recordings, 1):
        checked = check_one(path, prefixed(say, f"{path.name} ({number} of {len(recordings)})"))
        counts = device.line_counts()
        checks.append(replace(checked, line=counts.since(before)))
        before = counts
    return CheckReport(board or device.hello.board, device.hello.cost_unit, tuple(checks), device.faults_done)


def prefixed(say: Callable[[str], None], where: str) -> Callable[[str], None]:
    """Says where each text belongs."""
    return lambda text: say(f"{where}: {text}")


def with_outside(stats: TokenizerStats, outside: int) -> TokenizerStats:
    """A host's counts with events beside the part that it saw, which a device takes and counts."""
    return replace(stats, taken=stats.taken + outside, outside=stats.outside + outside)


@dataclass(frozen=True)
class _Session:
    """A device that is configured, and what its answers are compared with. pool: how many pending events it holds."""

    given: Given
    reference: Reference
    device: Device
    feed: Feed
    configuration: Configuration
    pool: int
    tolerance: float
    watch: Callable[[Compared], None] | None

    def check(self, path: Path, say: Callable[[str], None]) -> RecordingCheck:
        """A recording, but for what the line did to it."""
        sent = self.feed.heard(self.given.events(path))
        events = self.given.seen(path, sent)
        say("computing on the host")
        computed = self._compute(events, len(sent) - len(events))
        self.feed.play(sent, say)
        tokens = self.device.tokens()
        say("inferring")
        result = self.device.infer()
        edges, graph = self._graph(self._seen(events, computed.tokens), result)
        checked = self._compare(path, sent, computed, tokens, result, self.device.stats())
        checked = replace(checked, edges=edges, problem=checked.problem or graph)
        results: Sequence[Result] = ()
        if self.configuration.infers:
            results = self.device.take_results()
            problem = checked.problem or self._wrong_result(sent, events, computed.tokens, results)
            checked = replace(checked, problem=problem, results=len(results))
        if self.watch is not None:
            self.watch(self._compared(checked, events, computed, (*results, result)))
        return checked

    def _compared(
        self, checked: RecordingCheck, events: NDArray[Any], computed: Computed, results: Sequence[Result]
    ) -> Compared:
        """What there is to see of it."""
        host = [
            (result.t, seen_outputs(self.reference, computed.tokens, result, self.configuration.window_us)["logits"])
            for result in results[:-1]
            if result.newest <= len(computed.tokens)
        ]
        device = [(result.t, result.outputs["logits"]) for result in results[:-1] if "logits" in result.outputs]
        last = int(events["t"][-1])
        return Compared(
            checked,
            events,
            computed.tokens,
            self.given.bundle.labels,
            (*host, (last, computed.logits)),
            (*device, (last, results[-1].logits)),
        )

    def _graph(self, tokens: Tokens, result: Result) -> tuple[int | None, str | None]:
        """Of a model on graphs: edges on the host, and a sentence where the device's graphs are others."""
        graph = self.reference.graph(tokens)
        if graph is None:
            return None, None
        table, words = (
            device_words(self.given.bundle.encoder, self.given.bundle.tokens),
            self.device.graph_words(result),
        )
        problem = f"the device does not have the graphs of its run {result.run} any more"
        return edges_of(graph), problem if words is None else table.difference(graph, words)

    def _compute(self, events: NDArray[Any], outside: int) -> Computed:
        """What the host makes of the events; the outputs for the tokens that are young enough. outside: those beside
        them, which the device counts."""
        computed = self.reference.compute(events, self.pool)
        computed = replace(computed, stats=with_outside(computed.stats, outside))
        if not self.configuration.window_us:
            return computed
        return replace(computed, outputs=self.reference.outputs(self._seen(events, computed.tokens)))

    def _seen(self, events: NDArray[Any], tokens: Tokens) -> Tokens:
        """Those that are young enough after the last event."""
        if not self.configuration.window_us:
            return tokens
        since = max(int(events["t"][-1]) - self.configuration.window_us, 0)
        return window_of(self.reference, tokens, len(tokens), since)

    def _compare(
        self, path: Path, events: NDArray[Any], computed: Computed, tokens: NDArray[Any], result: Result, stats: Stats
    ) -> RecordingCheck:
        """computed: on the host. tokens, result, stats: the device's."""
        reported = as_reported(computed.tokens)
        difference = token_difference(reported, tokens)
        diffs = {name: largest_difference(host, result.outputs.get(name)) for name, host in computed.outputs.items()}
        labels = [self.given.bundle.labels[int(np.argmax(logits))] for logits in (computed.logits, result.logits)]
        problem = (
            stats.imbalance(len(events))
            or count_difference(computed.stats, stats)
            or difference
            or output_difference(computed.outputs, result.outputs, self.tolerance)
            or (f"the host says {labels[0]!r} and the device {labels[1]!r}" if labels[0] != labels[1] else None)
        )
        return RecordingCheck(
            path=path,
            events_sent=len(events),
            events_device=stats.taken,
            events_pending=stats.pending,
            events_dropped=stats.dropped,
            tokens_host=len(reported),
            tokens_device=stats.tokens,
            tokens_equal=difference is None,
            logits_host=computed.logits,
            logits_device=result.logits,
            logits_max_abs_diff=diffs["logits"],
            outputs_max_abs_diff=diffs,
            label_host=labels[0],
            label_device=labels[1],
            costs=StageCosts(result.cost_tokenize, result.cost_embed + result.cost_window, result.cost_encode),
            problem=problem,
        )

    def _wrong_result(
        self, sent: NDArray[Any], events: NDArray[Any], tokens: Tokens, results: Sequence[Result]
    ) -> str | None:
        """A sentence on the first result made on the way that is not the host's. events: those sent that it sees."""
        words = encode_words(sent) if self.configuration.source == "link" else None
        seen_at = None if self.given.part is None else events["t"]
        return check_results(self.reference, tokens, results, self.configuration, self.tolerance, words, seen_at)


def token_difference(host: NDArray[Any], device: NDArray[Any]) -> str | None:
    """None when both hold the same tokens, field by field, else a sentence on the first that differs."""
    n = min(len(host), len(device))
    different = np.zeros(n, bool)
    for name in _TOKEN_FIELDS:
        different |= host[name][:n] != device[name][:n]
    if different.any():
        at = int(np.argmax(different))
        names = [name for name in _TOKEN_FIELDS if host[name][at] != device[name][at]]
        return f"token {at} differs in {', '.join(names)}: host {_shown(host[at])}, device {_shown(device[at])}"
    if len(host) != len(device):
        return f"the host made {len(host)} tokens and the device {len(device)}"
    return None


def _shown(token: np.void) -> str:
    return f"({token['x']}, {token['y']}) at {token['t']} µs with {token['n']} events, CRC {token['crc']:08x}"


def count_difference(host: TokenizerStats, device: Stats) -> str | None:
    """None when host and device count the same for the same reasons, else a sentence on the first that differs."""
    for name in _SAME_COUNTS:
        ours, theirs = getattr(host, name), getattr(device, name)
        if ours != theirs:
            return f"the host counts {ours} for '{name}' and the device {theirs}"
    return None
