"""`python -m streams.cli`: the same as `orbitrack`, for an installation without its script on PATH."""

from streams.cli import main

main(prog_name="orbitrack")
