"""HTTP content encodings, in pieces, both ways: lz4 (frames), zstd, gzip, deflate.

    decoder = decoder_for("lz4")
    data = decoder.decompress(piece) ... decoder.finish()
    encoder = encoder_for("zstd")
    piece = encoder.compress(data) ... encoder.flush()

Not here: brotli, snappy, xz and bz2, which a server also knows.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, Protocol

import lz4.frame
import zstandard

from streams.gateway.errors import GatewayError

__all__ = ["Decoder", "Encoder", "choose_encoding", "decoder_for", "encoder_for"]

# In the order in which we like to send; lz4 costs least.
ENCODINGS = ("lz4", "zstd", "gzip", "deflate")
GZIP, ZLIB = zlib.MAX_WBITS | 16, zlib.MAX_WBITS
GZIP_LEVEL, ZSTD_LEVEL = 3, 1  # http_zlib_compression_level's default; the fastest


class Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Decoder(Protocol):
    def decompress(self, data: bytes, /) -> bytes: ...
    def finish(self) -> None:
        """Raises if the stream was cut off."""


class Identity:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def decompress(self, data: bytes, /) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""

    def finish(self) -> None:
        pass


class Lz4Encoder:
    def __init__(self) -> None:
        self.compressor = lz4.frame.LZ4FrameCompressor(auto_flush=True)
        self.begun = False

    def compress(self, data: bytes, /) -> bytes:
        begin: bytes = b"" if self.begun else self.compressor.begin()
        self.begun = True
        return begin + bytes(self.compressor.compress(data))

    def flush(self) -> bytes:
        return self.compress(b"") + bytes(self.compressor.flush())


class FrameDecoder:
    """A decoder for formats whose frames (members) may follow one another, as gzip, zstd and lz4 allow."""

    def __init__(self, name: str, start: Callable[[], Any], end_of_input: tuple[type[Exception], ...]) -> None:
        self.name, self.start, self.errors = name, start, end_of_input
        self.current: Any = None

    def decompress(self, data: bytes, /) -> bytes:
        pieces = []
        try:
            while data:
                if self.current is None:
                    self.current = self.start()
                pieces.append(self.current.decompress(data))
                if not self.current.eof:
                    break
                data, self.current = self.current.unused_data, None
        except self.errors as error:
            raise GatewayError(354, "ZLIB_INFLATE_FAILED", f"request body is not {self.name}: {error}", status=400) from error
        return b"".join(pieces)

    def finish(self) -> None:
        if self.current is not None:
            raise GatewayError(354, "ZLIB_INFLATE_FAILED", f"{self.name} request body ends too early", status=400)


def decoder_for(encoding: str) -> Decoder:
    """A decoder for a Content-Encoding, empty or `identity` for none."""
    match encoding.strip().lower():
        case "" | "identity":
            return Identity()
        case "gzip" | "x-gzip":
            return FrameDecoder("gzip", lambda: zlib.decompressobj(GZIP), (zlib.error,))
        case "deflate":
            return FrameDecoder("deflate", lambda: zlib.decompressobj(ZLIB), (zlib.error,))
        case "lz4":
            return FrameDecoder("lz4", lz4.frame.LZ4FrameDecompressor, (RuntimeError, EOFError))
        case "zstd":
            return FrameDecoder("zstd", lambda: zstandard.ZstdDecompressor().decompressobj(), (zstandard.ZstdError,))
    raise GatewayError(48, "NOT_IMPLEMENTED", f"Content-Encoding {encoding} is not supported by the embedded gateway")


def encoder_for(encoding: str | None) -> Encoder:
    match encoding:
        case "lz4":
            return Lz4Encoder()
        case "zstd":
            compressor: Encoder = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compressobj()
            return compressor
        case "gzip":
            return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP)
        case "deflate":
            return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, ZLIB)
    return Identity()


def choose_encoding(accept: str) -> str | None:
    """The encoding to answer with, by an Accept-Encoding header."""
    parts = (part.replace(" ", "").lower().partition(";") for part in accept.split(","))
    accepted = {encoding for encoding, _, quality in parts if quality != "q=0"}
    return next((encoding for encoding in ENCODINGS if encoding in accepted), None)
