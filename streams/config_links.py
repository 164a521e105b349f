"""`[[link]]` of the configuration: where frames come from, and what they are.

Part of streams/config.py, from which everybody imports it. What the keys do is in docs/rack.md, satellite.md and frames.md.
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from streams.config_types import FilePath, KeyProblem, ListenFrames, Name, Networks, Section, TimeCodeText

__all__ = ["CODECS", "Link"]

Codec = Literal["sflow", "netflow", "rack", "ccsds-packets", "tm", "aos", "uslp", "cadu"]
# Those of `orbitrack decode`, where one says what a file holds. "rack" is sFlow and NetFlow on one port, by content.
CODECS: tuple[str, ...] = tuple(codec for codec in get_args(Codec) if codec != "rack")
OF_SPACECRAFT = ("definition", "container", "spacecraft", "time", "frame_length", "rs", "fecf")


class Link(Section):
    """Where frames come from and what they are. The layout keys are those of `orbitrack decode`."""

    name: Name
    codec: Codec
    definition: FilePath | None = Field(default=None, description="XTCE, or a ccsdspy table (.csv)")
    container: str | None = Field(default=None, description="the root; default: the base-less one with the most heirs")
    parameters: list[str] = Field(default=[], description="only these become samples, by name or XTCE path; empty: all")
    raw: bool = Field(default=False, description="parameters with a calibrator also as sent, as samples of <metric>/raw")
    spacecraft: str | None = Field(default=None, description="entity of the samples; default: the link's name")
    time: TimeCodeText | None = Field(default=None, description="the packets' own time, where no definition says it")
    listen: ListenFrames | None = None
    allow: Networks = Field(default=[], description="senders that are taken; empty: everybody")
    rate_limit: int | None = Field(
        default=None, ge=1, description="datagrams a second of each sender; more are dropped and counted"
    )
    elements: FilePath | None = Field(default=None, description="enterprise elements of IPFIX, beside those that are known")
    unknown_elements: Literal["skip", "keep"] = Field(default="skip", description="keep: enterprise elements without a name")
    frame_length: int | None = Field(default=None, ge=7, le=65_536, description="bytes of a transfer frame")
    truncated_length: int | None = Field(default=None, ge=5, le=65_536, description="bytes of a truncated USLP frame")
    fecf: bool | None = Field(default=None, description="frames end in a CRC-16")
    randomized: bool | None = Field(default=None, description="CADUs are pseudo-randomized")
    rs: Literal["none", "255,223", "255,239"] | None = None
    interleave: int = Field(default=1, ge=1, le=8)
    rs_basis: Literal["dual", "conventional"] = "dual"
    insert_zone: int = Field(default=0, ge=0, le=1024, description="bytes")
    vc_mode: dict[Annotated[int, Field(ge=0, le=63)], Literal["packets", "bytes"]] = Field(default={})
    uncounted: list[Annotated[int, Field(ge=0, le=63)]] = Field(
        default=[], description="virtual channels whose frame count means nothing: no losses are read from it"
    )
    ocf: bool | None = Field(default=None, description="frames carry an operational control field")
    header_check: bool = Field(default=False, description="AOS frame headers have error control of their own")
    record_header: int = Field(default=0, ge=0, le=65_535, description="foreign bytes before each record")
    join_segments: bool = False
    idle: bool = Field(default=True, description="keep packets of APID 2047")

    @property
    def entity(self) -> str:
        """The spacecraft's name in samples."""
        return self.spacecraft or self.name

    @property
    def is_rack(self) -> bool:
        return self.codec in ("sflow", "netflow", "rack")

    @model_validator(mode="after")
    def check_fit(self) -> Link:
        if self.is_rack:
            for key in OF_SPACECRAFT:
                if getattr(self, key) is not None:
                    raise KeyProblem(key, f"means nothing for codec {self.codec}", "codec")
            # IPFIX alone has a way to say in a stream where a message ends (RFC 7011 section 10.4).
            if self.listen and not self.listen.startswith("udp://") and self.codec != "netflow":
                raise KeyProblem("listen", f"is not udp://HOST:PORT, but {self.codec} comes in datagrams", "codec")
        if self.codec not in ("netflow", "rack"):
            for key in ("elements", "unknown_elements"):
                if key in self.model_fields_set and getattr(self, key) not in (None, "skip"):
                    raise KeyProblem(key, f"means nothing for codec {self.codec}", "codec")
        if self.rate_limit and self.listen and not self.listen.startswith("udp://"):
            raise KeyProblem("rate_limit", "is for datagrams; a TCP sender is held back instead", "listen")
        if self.container and not self.definition:
            raise KeyProblem("container", "names a container, but there is no definition", "definition")
        if self.parameters and not self.definition:
            raise KeyProblem("parameters", "names parameters, but there is no definition", "definition")
        if self.listen and self.codec in ("tm", "aos") and self.frame_length is None:
            raise KeyProblem("codec", f"{self.codec} needs frame_length", "frame_length")
        return self
