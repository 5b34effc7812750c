"""spedge check: the device against the reference, on recordings."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spedge.base.errors import UsageError
from spedge.cli.common import (
    BinOption,
    BundleArgument,
    CropOption,
    DeviceOption,
    FaultOption,
    HtmlOption,
    JsonOption,
    PrecisionOption,
    ProviderOption,
    ThreadsOption,
    board_of,
    corner_of,
    known_boards,
    known_recordings,
    opened_device,
    print_json,
    progress,
    require_board,
    require_range,
    show,
    table,
)
from spedge.cli.pages import require_page, shown_until_interrupted
from spedge.cli.reading import reads

if TYPE_CHECKING:
    from rich.table import Table

    from spedge.events.part import Part
    from spedge.jobs.check import CheckReport, DeviceCheck, RecordingCheck
    from spedge.jobs.check_boxes import StepsCheck
    from spedge.jobs.check_host import HostReport, SampleCheck
    from spedge.jobs.check_host_boxes import SequenceCheck
    from spedge.link.protocol import Hello
    from spedge.model.bundle import Bundle
    from spedge.recordings import Reading


@reads
def command(
    bundle: BundleArgument,
    recordings: Annotated[
        list[Path] | None, typer.Argument(metavar="RECORDING...", show_default=False, autocompletion=known_recordings)
    ] = None,
    board: Annotated[
        str,
        typer.Option("--board", "-b", help="Board name; see 'spedge boards'. host: none.", autocompletion=known_boards),
    ] = "sim",
    device: DeviceOption = None,
    precision: PrecisionOption = "fp32",
    provider: ProviderOption = None,
    threads: ThreadsOption = None,
    fault: FaultOption = None,
    camera: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="An emulated camera plays the recordings at the board's camera port, and the host sends no event: "
            "evt2, evt2.1, evt2.1-legacy, evt3, edvs-e1 to edvs-e4.",
            show_default=False,
        ),
    ] = None,
    every_ms: Annotated[
        float, typer.Option(metavar="N", help="Let the board infer every N ms of the recording, too, and check that.")
    ] = 0.0,
    every_tokens: Annotated[
        int, typer.Option(metavar="K", min=0, help="Let the board infer after every K tokens, too, and check that.")
    ] = 0,
    window_ms: Annotated[
        float, typer.Option(metavar="W", help="How old the tokens of an inference may be; 0: any.")
    ] = 0.0,
    crop: CropOption = None,
    bin: BinOption = None,
    view: Annotated[
        bool, typer.Option("--view", help="Show host and device over each other on a page: docs/view.md.")
    ] = False,
    *,
    reading: Reading,
    html: HtmlOption = None,
    as_json: JsonOption = False,
) -> None:
    """Play recordings to a board and compare what it computes with the host.

    Tokens must be equal field by field, and the edges and samples of a GNN's or PCN's graphs; logits within 1e-4 (0.1
    for int8, against ONNX Runtime on the quantised graph), labels the same, and every event accounted for. With
    --every-ms or --every-tokens the board infers on the way, too: each result must come when it is due, with the host's
    window and logits.

    --board host needs no board and takes all classifiers and detectors: samples that the bundle keeps are computed
    again and compared with what torch made of them when it was exported: tokens, graphs, embeddings, logits; and
    recordings, if any, by the road of training and by that of a device. Of detectors heads are compared, and boxes one
    to one (class equal, IoU of 0.999, score within 1e-3), at every step.

    A detector on a board makes a step every 50 ms of the recording. Then the head's raw numbers and the state
    must be within 1e-4 of the host's, and the boxes the same, one to one. --board host with --provider is a device
    like others: the application of boards as a process, whose encoder ONNX Runtime computes by that provider.
    The exit code is 1 when a recording fails.
    """
    from spedge.events.formats import format_name
    from spedge.jobs.check import check, encoder_of, tolerance_of
    from spedge.jobs.check_boxes import check_boxes
    from spedge.jobs.check_host import HOST
    from spedge.jobs.given import part_of_recordings, require_recordings
    from spedge.model.bundle import Bundle
    from spedge.model.parts import Detection

    if camera == "frames":
        raise UsageError(
            "a sensor at the frame port sends what it sees, and no recording: record that by 'spedge stream board "
            "--camera-port frames --out FILE', and check FILE"
        )
    if camera is not None:
        camera = format_name(camera)
    require_range("--every-ms", every_ms)
    require_range("--window-ms", window_ms)
    every_us, window_us = round(1000 * every_ms), round(1000 * window_ms)
    if board == HOST and provider is None:
        played = threads or fault or camera or every_ms or every_tokens or window_ms or crop or bin
        if device or played or view or precision != "fp32":
            raise UsageError(
                "--board host has no device and computes in fp32: give it recordings and nothing else, or a --provider"
            )
        _check_host(bundle, recordings or [], reading, html, as_json)
        return
    if not recordings:
        raise UsageError(f"say which RECORDING to play to {board}; --board host needs none")
    if view:
        require_page()
        from spedge.view.checking import CheckStage
    require_board(board)
    loaded = Bundle.load(bundle)
    detects = isinstance(loaded.task, Detection)
    if detects and (every_ms or every_tokens or window_ms):
        raise UsageError(
            "a detector has its own steps, and all are checked: --every-ms, --every-tokens and --window-ms are for "
            "classifiers"
        )
    known = board_of(board, loaded, provider, precision, threads, device)
    corner = corner_of(crop)
    part = part_of_recordings(loaded, recordings, reading, corner, bin) if corner or bin else None
    events = require_recordings(loaded, recordings, reading, part is not None)
    with contextlib.ExitStack() as stack:
        watch = None
        if view:
            stage = CheckStage(loaded.name, loaded.token_input.tokenizer, known.name, len(recordings))
            stay, watch = stack.enter_context(shown_until_interrupted(loaded.name, stage)), stage.add
        with progress("Preparing") as say:
            encoder = encoder_of(loaded, known.target, precision, say)
            with opened_device(known, loaded, device, say, precision, fault) as link:
                board_name = None if device else known.name
                report: CheckReport[Any]
                if detects:
                    report = check_boxes(
                        loaded, recordings, link, board_name, say, camera, reading, events, watch, part
                    )
                else:
                    report = check(
                        loaded, recordings, link, board_name, say, encoder, tolerance_of(precision), camera,
                        every_us, every_tokens, window_us, reading, events, watch, part,
                    )  # fmt: skip
                hello = link.hello
        if html is not None:
            _write_html(html, report, loaded, recordings, reading, hello, part)
        if as_json:
            print_json(report.to_json())
        else:
            print_report(report)
            if known.process and known.process.emulated and not device:
                print(f"{known.name}: emulated by {known.emulator} on this machine, its times are the emulator's")
        if view:
            stay()
    if not report.passed:
        raise typer.Exit(1)


def _check_host(bundle: Path, recordings: list[Path], reading: Reading, html: Path | None, as_json: bool) -> None:
    from spedge.jobs.check_host import check_host
    from spedge.jobs.check_host_boxes import check_host_boxes
    from spedge.model.bundle import Bundle
    from spedge.model.parts import Detection, TokenInput

    loaded = Bundle.load(bundle)
    report: HostReport[Any]
    with progress("Computing") as say:
        if isinstance(loaded.task, Detection):
            seen = "tokens" if isinstance(loaded.representation, TokenInput) else "events seen"
            sequences = check_host_boxes(loaded, recordings, reading, say)
            report, listing = sequences, _sequences(sequences, seen)
        else:
            samples = check_host(loaded, recordings, reading, say)
            report, listing = samples, _samples(samples)
    if html is not None:
        _write_html(html, report, loaded, recordings, reading)
    if as_json:
        print_json(report.to_json())
    else:
        show(listing)
        for s in report.samples:
            if s.problem:
                print(f"{s.name}: {s.problem}")
        print(f"host: {sum(s.problem is None for s in report.samples)} of {len(report.samples)} passed")
    if not report.passed:
        raise typer.Exit(1)


def _write_html(
    path: Path,
    report: CheckReport[Any] | HostReport[Any],
    bundle: Bundle,
    recordings: list[Path],
    reading: Reading,
    hello: Hello | None = None,
    part: Part | None = None,
) -> None:
    from spedge.view.reports import check_page, scenes, write

    document = report.to_json()
    with progress("Drawing"):
        write(path, check_page(document, bundle, scenes(bundle, recordings, document, reading, part), hello))


def _samples(report: HostReport[SampleCheck]) -> Table:
    """Of a classifier, a row each."""
    from rich.text import Text

    numbers = ("events", "tokens", "edges", "largest Δ embedded", "largest Δ logit")
    listing = table(f"{report.bundle} on this machine", "", *numbers, "label", "verdict", right=numbers)
    for s in report.samples:
        edges = "" if s.edges is None else f"{s.edges:,}"
        embedded = "" if s.embedded_diff != s.embedded_diff else f"{s.embedded_diff:.1e}"
        cells = (s.name, f"{s.events:,}", f"{s.tokens:,}", edges, embedded, f"{s.logits_diff:.1e}", s.label)
        listing.add_row(*map(Text, cells), "FAILED" if s.problem else "passed")
    return listing


def _sequences(report: HostReport[SequenceCheck], seen: str) -> Table:
    """Of a detector, a row each. seen: what its model sees in a step."""
    from rich.text import Text

    numbers = ("events", "steps", seen, "boxes", "largest Δ head")
    listing = table(f"{report.bundle} on this machine", "", *numbers, "verdict", right=numbers)
    for s in report.samples:
        counts = (f"{count:,}" for count in (s.events, s.steps, s.tokens, s.boxes))
        listing.add_row(Text(s.name), *counts, f"{s.head_diff:.1e}", "FAILED" if s.problem else "passed")
    return listing


def print_report(report: CheckReport[Any]) -> None:
    """A row per recording, and a line for each that fails."""
    from rich.text import Text

    from spedge.jobs.check import RecordingCheck
    from spedge.jobs.check_boxes import StepsCheck

    detects = any(isinstance(recording, StepsCheck) for recording in report.recordings)
    said: tuple[str, ...] = ("largest Δ logit", "label host", "label device")
    if detects:
        said = ("steps", "boxes", "at an edge", "largest Δ head", "largest Δ state")
    before, after = ("events", "dropped", "tokens"), ("tokenize", "embed", "encode")
    listing = table(
        f"{report.board} (costs in {report.cost_unit})",
        "recording",
        *before,
        "equal",
        *said,
        *after,
        "verdict",
        right=(*before, *(name for name in said if not name.startswith("label")), *after),
    )
    for recording in report.recordings:
        own = _of_steps(recording) if isinstance(recording, StepsCheck) else _of_labels(recording)
        listing.add_row(*(Text(cell) for cell in _cells(recording, own)))
    show(listing)
    for recording in report.recordings:
        if recording.problem:
            print(f"{recording.path}: {recording.problem}")
    if report.faults or any(asdict(report.line).values()):
        print(_line(report))
    passed = sum(recording.passed for recording in report.recordings)
    if results := sum(recording.results for recording in report.recordings):
        what = "steps" if detects else "results on the way"
        print(f"{report.board}: {results:,} {what}, all compared with the host's")
    edges = [r.edges for r in report.recordings if isinstance(r, RecordingCheck) and r.edges is not None and r.passed]
    if edges:
        print(f"{report.board}: {sum(edges):,} edges of the last windows' graphs, all equal to the host's")
    print(f"{report.board}: {passed} of {len(report.recordings)} recordings passed")


def _of_labels(r: RecordingCheck) -> tuple[str, ...]:
    return f"{r.logits_max_abs_diff:.1e}", r.label_host, r.label_device


def _of_steps(r: StepsCheck) -> tuple[str, ...]:
    counts = (f"{count:,}" for count in (r.steps, r.boxes, r.at_an_edge))
    return *counts, f"{r.head_max_abs_diff:.1e}", f"{r.state_max_abs_diff:.1e}"


def _cells(r: DeviceCheck, said: tuple[str, ...]) -> tuple[str, ...]:
    return (
        r.path.name,
        _both(r.events_sent, r.events_device),
        f"{sum(r.events_dropped.values()):,}",
        _both(r.tokens_host, r.tokens_device),
        "yes" if r.tokens_equal else "NO",
        *said,
        f"{r.costs.tokenize:,}",
        f"{r.costs.embed:,}",
        f"{r.costs.encode:,}",
        "passed" if r.passed else "FAILED",
    )


def _line(report: CheckReport[Any]) -> str:
    """What went wrong between the two ends, and what was done to the line on purpose."""
    line = report.line
    text = (
        f"line: {line.resent} frames sent again, {line.repeated} came twice, {line.refused} refused, "
        f"{line.damaged_there} damaged on the way to the device and {line.damaged_here} on the way back, "
        f"{line.reconnects} times reconnected"
    )
    done = ", ".join(f"{count} {kind}" for kind, count in report.faults.items() if count)
    return text + (f"\nfaults: {done}" if done else "")


def _both(host: int, device: int) -> str:
    """One number when both sides agree."""
    return f"{host:,}" if host == device else f"{host:,} / {device:,}"
