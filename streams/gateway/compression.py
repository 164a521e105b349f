"""Compression of bodies, in pieces, both ways: HTTP content encodings and ClickHouse's own blocks.

    decoder = decoder_for("lz4", False)
    for data in decoder.decompress(piece): ...
    decoder.finish()
    encoder = encoder_for("zstd", None)
    piece = encoder.compress(data) ... encoder.flush()

Encodings are lz4 (frames), zstd, gzip and deflate; a server also knows brotli, snappy, xz and bz2. ClickHouse's blocks
(`compress=1`, `decompress=1`, what its JDBC driver speaks) are LZ4, ZSTD or NONE.
"""

from __future__ import annotations

import enum
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import lz4.block
import lz4.frame
import zstandard
from clickhouse_cityhash.cityhash import CityHash128  # type: ignore[import-untyped]

from streams.gateway.errors import GatewayError

__all__ = ["Decoder", "Encoder", "choose_encoding", "decoder_for", "encoder_for"]

# In the order in which we like to send; lz4 costs least.
ENCODINGS = ("lz4", "zstd", "gzip", "deflate")
# zstd makes up to 43,000 times as much of its input: 44 MB of a step. More steps cost 1 ms a megabyte.
STEP_BYTES = 1024
GZIP, ZLIB = zlib.MAX_WBITS | 16, zlib.MAX_WBITS
GZIP_LEVEL, ZSTD_LEVEL = 3, 1  # http_zlib_compression_level's default; the fastest


class Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class Decoder(Protocol):
    def decompress(self, data: bytes, /) -> Iterator[bytes]:
        """The data in pieces of bounded size, however well they were compressed."""

    def finish(self) -> None:
        """Raises if the stream was cut off."""


class Identity:
    def compress(self, data: bytes, /) -> bytes:
        return data

    def decompress(self, data: bytes, /) -> Iterator[bytes]:
        yield data

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

    def __init__(self, name: str, start: Callable[[], Any], errors: tuple[type[Exception], ...]) -> None:
        self.name, self.start, self.errors = name, start, errors
        self.current: Any = None

    def decompress(self, data: bytes, /) -> Iterator[bytes]:
        for at in range(0, len(data), STEP_BYTES):
            yield self.step(data[at : at + STEP_BYTES])

    def step(self, data: bytes) -> bytes:
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


# A block (CompressedReadBufferBase.cpp): CityHash128 of the rest, method, size of method to end, size of the data.
BLOCK_HEADER = struct.Struct("<QQBII")
CHECKSUM_BYTES, SIZES_BYTES = 16, 9
BLOCK_BYTES = 1 << 20  # max_compress_block_size
BLOCK_BYTES_MAX = 64 << 20  # a server takes 1 GiB; nobody sends it


class Method(enum.IntEnum):
    NONE = 0x02
    LZ4 = 0x82
    ZSTD = 0x90


def checksum(data: bytes) -> tuple[int, int]:
    value = CityHash128(data)
    return value >> 64, value & 0xFFFF_FFFF_FFFF_FFFF


class BlockEncoder:
    """ClickHouse's compressed blocks of BLOCK_BYTES."""

    def __init__(self, method: str) -> None:
        if method.upper() not in Method.__members__:
            raise GatewayError(48, "NOT_IMPLEMENTED", f"network_compression_method {method} is not supported")
        self.method = Method[method.upper()]
        self.held = bytearray()

    def compress(self, data: bytes, /) -> bytes:
        self.held += data
        whole = len(self.held) - len(self.held) % BLOCK_BYTES
        blocks = [self.block(bytes(self.held[start : start + BLOCK_BYTES])) for start in range(0, whole, BLOCK_BYTES)]
        del self.held[:whole]
        return b"".join(blocks)

    def flush(self) -> bytes:
        held, self.held = bytes(self.held), bytearray()
        return self.block(held) if held else b""

    def block(self, data: bytes) -> bytes:
        match self.method:
            case Method.LZ4:
                packed: bytes = lz4.block.compress(data, store_size=False)
            case Method.ZSTD:
                packed = zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(data)
            case _:
                packed = data
        body = struct.pack("<BII", self.method, len(packed) + SIZES_BYTES, len(data)) + packed
        return struct.pack("<QQ", *checksum(body)) + body


class BlockDecoder:
    """The reverse; every checksum is looked at."""

    def __init__(self) -> None:
        self.held = bytearray()

    def decompress(self, data: bytes, /) -> Iterator[bytes]:
        self.held += data
        start = 0
        while len(self.held) - start >= BLOCK_HEADER.size:
            low, high, method, packed_bytes, data_bytes = BLOCK_HEADER.unpack_from(self.held, start)
            if not SIZES_BYTES <= packed_bytes <= BLOCK_BYTES_MAX or data_bytes > BLOCK_BYTES_MAX:
                raise GatewayError(12, "TOO_LARGE_SIZE_COMPRESSED", "Too large size_compressed: not a compressed block")
            end = start + CHECKSUM_BYTES + packed_bytes
            if len(self.held) < end:
                break
            body = bytes(self.held[start + CHECKSUM_BYTES : end])
            if checksum(body) != (low, high):
                raise GatewayError(40, "CHECKSUM_DOESNT_MATCH", "Checksum doesn't match: corrupted data")
            start = end
            yield unpacked(method, body[SIZES_BYTES:], data_bytes)
        del self.held[:start]

    def finish(self) -> None:
        if self.held:
            raise GatewayError(271, "CANNOT_DECOMPRESS", "request body ends inside a compressed block", status=400)


def unpacked(method: int, packed: bytes, data_bytes: int) -> bytes:
    try:
        match method:
            case Method.LZ4:
                data: bytes = lz4.block.decompress(packed, uncompressed_size=data_bytes)
            case Method.ZSTD:
                data = zstandard.ZstdDecompressor().decompress(packed, max_output_size=data_bytes)
            case Method.NONE:
                data = packed
            case _:
                raise GatewayError(89, "UNKNOWN_COMPRESSION_METHOD", f"Unknown compression method: {method}", status=400)
    except (lz4.block.LZ4BlockError, zstandard.ZstdError) as error:
        raise GatewayError(271, "CANNOT_DECOMPRESS", f"Cannot decompress: {error}", status=400) from error
    if len(data) != data_bytes:
        raise GatewayError(271, "CANNOT_DECOMPRESS", "a compressed block has not the size it states", status=400)
    return data


def decoder_for(encoding: str, has_blocks: bool) -> Decoder:
    """A decoder for a Content-Encoding (empty or `identity` for none), or for ClickHouse's blocks."""
    if has_blocks:
        return BlockDecoder()
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


def encoder_for(encoding: str | None, block_method: str | None) -> Encoder:
    """An encoder for a Content-Encoding, or ClickHouse's blocks of `block_method`; they win, as on a server."""
    if block_method is not None:
        return BlockEncoder(block_method)
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
