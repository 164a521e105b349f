"""The options that say what frames are: for decode, replay and inspect, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from streams.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from streams.config import Link

__all__ = ["CODECS", "link_from_options", "link_options", "total_bytes"]

# As streams.config.CODECS, which would take its time to import before --help.
CODECS = ("sflow", "netflow", "ccsds-packets", "tm", "aos", "uslp", "cadu")
NEED_FRAME_LENGTH = ("tm", "aos")


class Codec(click.Choice[str]):
    """Missing, it is one line; Choice would write one for each of its values."""

    def get_missing_message(self, param: click.Parameter, ctx: click.Context | None) -> str:
        return f"One of {', '.join(self.choices)}."


def link_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what frames are, for decode, replay and inspect."""
    options = [
        click.option("--codec", type=Codec(CODECS), required=True, help="What the frames are."),
        click.option("--port", type=click.IntRange(1, 65_535), help="Of captures: only datagrams to this UDP port."),
        click.option("--definition", type=click.Path(path_type=Path), metavar="FILE", help="XTCE or ccsdspy table (.csv)."),
        click.option("--container", metavar="PATH", help="The root; default: the base-less one with the most heirs."),
        click.option("--time", metavar="CODE", help="Where packets have their time: cds, cuc:4.2, ccs_day, explicit, ..."),
        click.option("--elements", type=click.Path(path_type=Path), metavar="FILE", help="Enterprise elements of IPFIX."),
        click.option("--unknown-elements", type=click.Choice(["skip", "keep"]), help="Enterprise elements that nobody named."),
        click.option("--frame-length", type=int, metavar="N", help="Bytes of a transfer frame."),
        click.option("--truncated-length", type=int, metavar="N", help="Bytes of a truncated USLP frame."),
        click.option("--fecf/--no-fecf", default=None, help="Frames end in a CRC-16."),
        click.option("--randomized/--not-randomized", default=None, help="CADUs are pseudo-randomized."),
        click.option("--rs", type=click.Choice(["none", "255,223", "255,239"]), help="Reed-Solomon code of CADUs."),
        click.option("--interleave", type=int, metavar="N", help="Of Reed-Solomon code words, 1 to 8."),
        click.option("--rs-basis", type=click.Choice(["dual", "conventional"])),
        click.option("--insert-zone", type=int, metavar="N", help="Bytes of the AOS or USLP insert zone."),
        click.option("--vc-mode", multiple=True, metavar="VCID=packets|bytes", help="What a channel carries; repeatable."),
        click.option("--uncounted", type=int, multiple=True, metavar="VCID", help="Its frame count means nothing; repeatable."),
        click.option("--ocf/--no-ocf", default=None, help="Frames carry an operational control field."),
        click.option("--header-check", is_flag=True, help="AOS frame headers have error control of their own."),
        click.option("--record-header", type=int, metavar="N", help="Foreign bytes before each record."),
        click.option("--join-segments", is_flag=True, help="Join segmented packets."),
        click.option("--no-idle", is_flag=True, help="Leave out packets of APID 2047."),
    ]
    for option in reversed(options):
        function = option(function)
    return function


def link_from_options(options: dict[str, Any], name: str = "") -> Link:
    """A link as if it had been configured; UsageError names the option that does not fit."""
    from pydantic import ValidationError

    from streams.config import Link
    from streams.config_mistakes import describe_error

    # A 0 that was given stays, to be judged like any number; False of a switch is its default.
    wanted = {key: value for key, value in options.items() if value is not None and value is not False and value != ()}
    wanted |= {key: False for key in ("fecf", "randomized", "ocf") if options.get(key) is False}
    wanted |= {"name": name or options["codec"], "idle": not wanted.pop("no_idle", False)}
    wanted |= {"vc_mode": vc_modes(wanted.pop("vc_mode", ()))}
    if options["codec"] in NEED_FRAME_LENGTH and options.get("frame_length") is None:
        raise UsageError(f"--frame-length: {options['codec']} frames are told apart by their length only")
    try:
        return Link.model_validate(wanted, context={"base": Path.cwd(), "environ": {}})
    except ValidationError as error:
        path, what, hint = describe_error(Link, error.errors(include_url=False)[0])
        option = f"--{str(path[0]).replace('_', '-')}" if path else "options"
        raise UsageError(f"{option}: {what}" + (f"\n  hint: {hint}" if hint else "")) from None


def vc_modes(entries: tuple[str, ...]) -> dict[int, str]:
    modes = {}
    for entry in entries:
        vcid, _, mode = entry.partition("=")
        if not vcid.isdecimal() or mode not in ("packets", "bytes"):
            raise UsageError(f"--vc-mode: '{entry}' is not VCID=packets or VCID=bytes")
        modes[int(vcid)] = mode
    return modes


def total_bytes(files: tuple[Path, ...]) -> int | None:
    """The size of all files, None where one has no size to tell (a pipe, or it is absent)."""
    return sum(file.stat().st_size for file in files) if all(file.is_file() for file in files) else None
