"""spedge flash: put the firmware on a board; an emulated board takes it when it is started."""

from __future__ import annotations

from spedge.cli.build import OptionalBundle, build_document, describe
from spedge.cli.common import BoardOption, DeviceOption, JsonOption, PrecisionOption, print_json, progress


def command(
    bundle: OptionalBundle = None,
    board: BoardOption = "sim",
    device: DeviceOption = None,
    precision: PrecisionOption = "fp32",
    as_json: JsonOption = False,
) -> None:
    """Build a board's firmware and put it on the board.

    An emulated board is only built: 'run' and 'check' start it.
    """
    from spedge.boards.build import build, upload
    from spedge.boards.manifest import load_board
    from spedge.model.bundle import Bundle

    known = load_board(board)
    loaded = Bundle.load(bundle) if bundle else None
    if known.runs == "serial":
        with progress(f"Writing to {known.name}") as say:
            firmware = upload(known, loaded, device, say, precision)
        how = f"written to {known.name}"
    else:
        with progress(f"Building for {known.name}") as say:
            firmware = build(known, loaded, say, precision)
        where = "a process on this machine" if known.runs == "process" else f"QEMU ({known.title})"
        how = f"nothing to flash: {known.name} is {where}; 'spedge run' and 'spedge check' start this image"
    document = build_document(firmware, loaded)
    if as_json:
        print_json({**document, "runs": known.runs, "flashed": known.runs == "serial"})
    else:
        print(f"{describe(document)}\n{how}")
