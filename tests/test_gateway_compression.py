"""Compression both ways; ClickHouse's own blocks are held to blocks that the engine wrote to disk."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from streams.gateway.compression import Decoder, choose_encoding, decoder_for, encoder_for
from streams.gateway.errors import GatewayError
from tests.databases import Database

SEED = 20261123
ENCODINGS = [("lz4", None), ("zstd", None), ("gzip", None), ("deflate", None), (None, None)]
BLOCKS = [(None, "LZ4"), (None, "zstd"), (None, "NONE")]


def decode(decoder: Decoder, packed: bytes, step_bytes: int) -> bytes:
    pieces = [piece for at in range(0, len(packed), step_bytes) for piece in decoder.decompress(packed[at : at + step_bytes])]
    decoder.finish()
    return b"".join(pieces)


@pytest.mark.parametrize(("encoding", "block"), ENCODINGS + BLOCKS)
@pytest.mark.parametrize("step_bytes", [7, 4096, 1 << 30])
def test_data_comes_back_whatever_the_pieces(encoding: str | None, block: str | None, step_bytes: int) -> None:
    generator = random.Random(SEED)
    size_bytes = 60_000 if step_bytes == 7 else 2_500_000
    data = bytes(generator.choices(b"0123456789\n", k=size_bytes))
    encoder = encoder_for(encoding, block)

    pieces = [data[: size_bytes // 3], b"", data[size_bytes // 3 :]]
    packed = b"".join(encoder.compress(piece) for piece in pieces) + encoder.flush()

    assert decode(decoder_for(encoding or "", block is not None), packed, step_bytes) == data
    assert block == "NONE" or encoding is block is None or len(packed) < size_bytes


@pytest.mark.parametrize(("encoding", "block"), ENCODINGS[:-1] + BLOCKS)
def test_cut_or_changed_data_is_refused(encoding: str | None, block: str | None) -> None:
    encoder = encoder_for(encoding, block)
    packed = encoder.compress(random.Random(SEED).randbytes(1000)) + encoder.flush()
    spoilt = packed[:30] + bytes([packed[30] ^ 0xFF]) + packed[31:]

    for broken in (packed[:-1], packed[:400], *([spoilt] if block else [b"garbage" * 9])):
        with pytest.raises(GatewayError):
            decode(decoder_for(encoding or "", block is not None), broken, 1 << 30)


def test_block_that_states_a_wild_size_is_refused_at_once() -> None:
    for packed_bytes, data_bytes in ((0xFFFF_FFFF, 10), (3, 10), (100, 0xFFFF_FFFF)):
        with pytest.raises(GatewayError, match="Too large size_compressed"):
            list(decoder_for("", True).decompress(struct.pack("<QQBII", 0, 0, 0x82, packed_bytes, data_bytes)))


@pytest.mark.parametrize("encoding", ["gzip", "zstd", "lz4"])
def test_bomb_goes_off_in_small_pieces(encoding: str) -> None:
    encoder = encoder_for(encoding, None)
    bomb = b"".join(encoder.compress(bytes(1 << 20)) for _ in range(256)) + encoder.flush()

    sizes = [len(piece) for piece in decoder_for(encoding, False).decompress(bomb)]

    assert sum(sizes) == 256 << 20
    assert max(sizes) <= 64 << 20


def test_blocks_of_the_engine_are_read(gateway: Database, schema: str) -> None:
    for codec in ("LZ4", "ZSTD(1)", "NONE"):
        table = f"{schema}.t_{codec[:3]}"
        settings = "SETTINGS min_bytes_for_wide_part = 0"
        gateway.value(f"CREATE TABLE {table} (a UInt64 CODEC({codec})) ENGINE = MergeTree ORDER BY a {settings}")
        gateway.value(f"INSERT INTO {table} SELECT number FROM numbers(200000)")
        folder = gateway.value(
            f"SELECT path FROM system.parts WHERE active AND database = '{schema}' AND table = 't_{codec[:3]}'"
        )

        packed = (Path(gateway.path) / folder / "a.bin").read_bytes()

        assert decode(decoder_for("", True), packed, 1000) == struct.pack("<200000Q", *range(200000))


def test_blocks_go_through_the_gateway_both_ways(gateway: Database, schema: str) -> None:
    gateway.value(f"CREATE TABLE {schema}.t (a UInt64) ENGINE = MergeTree ORDER BY a")
    query = "SELECT number FROM numbers(300000) FORMAT RowBinary"

    packed = gateway.ask(query, compress=1).body
    reply = gateway.ask(packed, decompress=1, query=f"INSERT INTO {schema}.t FORMAT RowBinary")

    assert packed[16] == 0x82
    assert gateway.ask(query, compress=1, network_compression_method="ZSTD").body[16] == 0x90
    assert decode(decoder_for("", True), packed, 1 << 30) == gateway.ask(query).body
    assert reply.summary["written_rows"] == 300_000
    assert gateway.ask(b"no block" * 9, decompress=1, query=f"INSERT INTO {schema}.t FORMAT RowBinary").status in (400, 500)


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [("", None), ("gzip, deflate, br", "gzip"), ("zstd;q=0.5, lz4", "lz4"), ("lz4;q=0, gzip;q=0.1", "gzip"), ("br", None)],
)
def test_encoding_is_one_the_client_accepts(accept: str, chosen: str | None) -> None:
    assert choose_encoding(accept) == chosen


def test_unknown_encodings_are_named() -> None:
    with pytest.raises(GatewayError, match="snappy is not supported"):
        decoder_for("snappy", False)
    with pytest.raises(GatewayError, match="DEFLATE_QPL is not supported"):
        encoder_for(None, "DEFLATE_QPL")
