"""spedge run: events from a source to the model on a board, and its results as they come."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from spedge.cli.common import (
    LIVE_SOURCES,
    SCHEMA,
    BinOption,
    BoardOption,
    BundleArgument,
    CameraBaudOption,
    CameraFormatOption,
    CameraPortOption,
    CropOption,
    DeviceOption,
    FaultOption,
    JsonOption,
    ModeOption,
    PlayOption,
    PrecisionOption,
    ProviderOption,
    ThreadsOption,
    board_of,
    camera_port_of,
    causes,
    corner_of,
    interruptible,
    opened_device,
    playing,
    print_json_line,
    print_pairs,
    progress,
    require_board,
    require_range,
)
from spedge.cli.pages import require_page, shown_live
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from spedge.jobs.run import Outcome, Progress, Session, Summary, Triggers
    from spedge.model.bundle import Bundle
    from spedge.recordings import Reading

_BEST = 3  # boxes of a step in its line


@reads
def command(
    bundle: BundleArgument,
    recording: Annotated[
        Path | None, typer.Argument(metavar="[RECORDING]", help="The same as --source RECORDING.", show_default=False)
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help=f"A recording; {LIVE_SOURCES}; or board, the camera on the board itself.",
            show_default=False,
        ),
    ] = None,
    board: BoardOption = "sim",
    device: DeviceOption = None,
    speed: Annotated[
        float | None,
        typer.Option(
            help="Of a recording: 1 plays it in real time, as a camera would send it. Without, as fast as the board "
            "takes it, losing nothing.",
            show_default=False,
        ),
    ] = None,
    mode: ModeOption = None,
    every_ms: Annotated[
        float, typer.Option(help="A result each so many milliseconds of the stream's time; 0: none by time.")
    ] = 100.0,
    precision: PrecisionOption = "fp32",
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    every_tokens: Annotated[int, typer.Option(help="A result each so many tokens; 0: none by tokens.")] = 0,
    window_ms: Annotated[
        float, typer.Option(help="Only tokens of the last so many milliseconds count; 0: of any age.")
    ] = 0.0,
    crop: CropOption = None,
    bin: BinOption = None,
    camera_format: CameraFormatOption = "evt2",
    camera_baud: CameraBaudOption = 0,
    camera_port: CameraPortOption = "uart",
    play: PlayOption = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, help="Stop after so long. Without: when the source ends, or Ctrl-C.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the results to this file, a line of JSON each.", show_default=False)
    ] = None,
    *,
    reading: Reading,
    view: Annotated[
        bool, typer.Option("--view", help="Show events, tokens and results on a page meanwhile: docs/view.md.")
    ] = False,
    fault: FaultOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a bundle's model on a board, on events from a recording or a camera, and print its results as they come.

    --board host needs no compiler: ONNX Runtime computes the encoder on this machine, by any --provider that it has.

    Ends when the source does, or with Ctrl-C, with a result on all that came, and then says what became of every event.
    With --json, a line of JSON
    for each result and one for the summary.
    """
    from spedge.base.errors import UsageError
    from spedge.jobs.run import Session, require_sensor
    from spedge.model.bundle import Bundle
    from spedge.model.parts import Detection
    from spedge.sources import open_source

    if view:
        require_page()
    triggers = _triggers(every_ms, every_tokens, window_ms)
    corner = corner_of(crop)
    name = _source_name(recording, source)
    if play is not None and name != "board":
        raise UsageError("--play is for --source board: the camera on the board plays it")
    port = camera_port_of(camera_port, camera_format, camera_baud, play)
    require_board(board)
    loaded = Bundle.load(bundle)
    known = board_of(board, loaded, provider, precision, threads, device)
    with contextlib.ExitStack() as stack:
        lines = stack.enter_context(out.open("w")) if out else None
        events = stack.enter_context(open_source(name, speed=speed, reading=reading)) if name != "board" else None
        say = stack.enter_context(progress("Preparing"))
        if events is not None:
            require_sensor(loaded, events, corner, bin)
            events.check()
        link = stack.enter_context(opened_device(known, loaded, device, say, precision, fault))
        say(f"{name} on {known.name}")
        session = Session(
            link,
            loaded,
            events,
            triggers,
            mode,
            port=port,
            format=camera_format,
            baud=camera_baud,
            crop=corner,
            bin=bin,
        )
        ended = stack.enter_context(playing(link, play, camera_format, reading))
        if view:
            detects, settings = isinstance(loaded.task, Detection), loaded.token_input.tokenizer
            shown = stack.enter_context(shown_live(name, settings, loaded.labels, known.name, detects))
            session.watch = shown.offer
        summary = _follow(session, loaded, say, lines, as_json, seconds, ended, shown.progress if view else None)
    _end(summary, as_json)
    if not summary.accounted:
        raise typer.Exit(1)


def _triggers(every_ms: float, every_tokens: int, window_ms: float) -> Triggers:
    from spedge.jobs.run import Triggers

    for option, value in (("--every-ms", every_ms), ("--every-tokens", every_tokens), ("--window-ms", window_ms)):
        require_range(option, value)
    return Triggers(round(every_ms * 1000), every_tokens, round(window_ms * 1000))


def _source_name(recording: Path | None, source: str | None) -> str:
    from spedge.base.errors import UsageError

    if (recording is None) == (source is None):
        raise UsageError("say where the events come from: a RECORDING or --source, one of the two")
    return source if source is not None else str(recording)


def _follow(
    session: Session,
    bundle: Bundle,
    say: Any,
    lines: IO[str] | None,
    as_json: bool,
    seconds: float | None,
    ended: Callable[[int], bool],
    show: Callable[[Progress], None] | None,
) -> Summary:
    """Run to the end, showing what comes. Ctrl-C is an end like any other."""
    last: Outcome | None = None
    with interruptible(session.stop):
        for state in session.run():
            if show is not None:
                show(state)
            for outcome in state.outcomes:
                last = outcome
                document = _document(outcome, bundle)
                if lines is not None:
                    lines.write(json.dumps({"schema": SCHEMA, **document}) + "\n")
                    lines.flush()
                if as_json:
                    print_json_line(document)
                else:
                    print(_line(outcome, bundle), flush=True)
            say(_status(state, last))
            if ended(state.events) or (seconds is not None and state.seconds >= seconds):
                session.stop()
    return session.summary()


def _line(outcome: Outcome, bundle: Bundle) -> str:
    lost = outcome.loss.lost
    seen = f"{outcome.label} ({outcome.confidence:.1%})" if outcome.step is None else _boxes(outcome, bundle)
    return (
        f"{outcome.t / 1e6:10.3f} s  {outcome.tokens:>7,} tokens  {seen}  "
        f"{_latency(outcome)}" + _others(outcome) + (f"  {lost:,} events lost" if lost else "")
    )


def _boxes(outcome: Outcome, bundle: Bundle) -> str:
    """How many boxes there are, the best of them, and what was left out so far."""
    from spedge.jobs.run import label_of

    step = outcome.step
    assert step is not None
    best = []
    for box in step.boxes[:_BEST]:
        x, y, w, h = (f"{box[name]:.0f}" for name in ("x", "y", "w", "h"))
        best.append(f"{label_of(box, bundle.labels)} {box['score']:.0%} at {x},{y} {w}x{h}")
    more = f", {step.found - len(best)} more" if step.found > len(best) else ""
    left_out = f"  {step.steps_left_out:,} steps left out" if step.steps_left_out else ""
    return (", ".join(best) or "nothing") + more + left_out


def _others(outcome: Outcome) -> str:
    """The shapes of what the model gives beside the logits."""
    if outcome.step is not None:
        return ""
    shapes = {name: "x".join(map(str, shape)) for name, shape in outcome.outputs.items() if name != "logits"}
    return "".join(f"  {name} {shape}" for name, shape in shapes.items())


def _latency(outcome: Outcome) -> str:
    if outcome.cost_unit == "ns":
        return f"{outcome.latency / 1e3:,.0f} µs"
    return f"{outcome.latency / 1e6:,.2f} M {outcome.cost_unit}"


def _status(state: Progress, last: Outcome | None) -> str:
    """The live line: rates, losses by cause, what the device sees now."""
    text = (
        f"{state.seconds:6.1f} s  {state.events_per_second / 1e3:8.1f} kev/s  {state.tokens_per_second:6.0f} tokens/s"
    )
    if last is None:
        return text
    offered = max(last.loss.offered, 1)
    lost = [f"{cause} {n / offered:.1%}" for cause, n in last.loss.by_cause.items() if n and cause != "sensor"]
    if last.loss.sensor:
        lost.append(f"sensor {last.loss.sensor} bytes")
    text += "  lost: " + (", ".join(lost) or "none")
    seen = f"{last.label} {last.confidence:.0%}" if last.label else "nothing"
    return f"{text}  {seen}  {_latency(last)}"


def _document(outcome: Outcome, bundle: Bundle) -> dict[str, Any]:
    from spedge.jobs.run import boxes_document

    step = outcome.step
    seen: dict[str, Any]
    if step is None:
        logits = dict(zip(bundle.labels, outcome.logits.tolist(), strict=True))
        seen = {"label": outcome.label, "confidence": outcome.confidence, "logits": logits}
    else:
        seen = {
            "boxes": boxes_document(step.boxes, bundle.labels),
            "boxes_found": step.found,
            "boxes_left_out": step.boxes_left_out,
            "tokens_left_out": step.tokens_left_out,
            "steps_left_out": step.steps_left_out,
        }
    return {
        "index": outcome.index,
        "cause": outcome.cause,
        "t_us": outcome.t,
        "tokens": outcome.tokens,
        "window": outcome.window,
        **seen,
        "outputs": {name: list(shape) for name, shape in outcome.outputs.items()},
        "latency": outcome.latency,
        "encode_cost": outcome.encode_cost,
        "cost_unit": outcome.cost_unit,
        "events_offered": outcome.loss.offered,
        "lost": outcome.loss.by_cause,
        "lost_since_us": outcome.loss.since,
        "lost_until_us": outcome.loss.until,
    }


def _end(summary: Summary, as_json: bool) -> None:
    stats = summary.stats
    document: dict[str, Any] = {
        "seconds": round(summary.seconds, 3),
        "results": summary.results,
        "results_unread": summary.results_unread,
        "events_offered": summary.offered,
        "events_accepted": stats.accepted,
        "events_in_tokens": stats.in_tokens,
        "events_pending": stats.pending,
        "events_dropped": stats.refractory + stats.decayed,
        "lost": stats.loss.by_cause,
        "lost_by_source": summary.source_lost,
        "results_dropped": stats.loss.results_dropped,
        "tokens": stats.tokens,
        "frames_resent": summary.resent,
        "all_accounted": summary.accounted,
    }
    if as_json:
        print_json_line({"summary": document})
        return
    for name in ("lost", "lost_by_source"):
        document[name] = causes(document[name])
    print_pairs(document)
    if problem := stats.imbalance(summary.offered):
        print(f"not every event is accounted for: {problem}")
