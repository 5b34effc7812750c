"""python -m spedge."""

from spedge.cli import main

main()
