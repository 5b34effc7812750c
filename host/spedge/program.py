"""The program `spedge`: what Ctrl-C means is settled here, before anything is imported that takes time."""

import os
import signal


def main() -> None:
    """The console script."""
    signal.signal(signal.SIGINT, _end)
    from spedge import cli

    cli.main()


def _end(*_: object) -> None:
    """Nothing is open yet, and an exception in an import would be taken for a fault of what is imported."""
    os.write(2, b"spedge: error: interrupted\n")
    os._exit(130)
