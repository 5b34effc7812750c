"""python -m spedge."""

try:
    from spedge.program import main
except KeyboardInterrupt:
    raise SystemExit(130) from None
main()
