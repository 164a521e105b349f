"""Reed-Solomon, randomizer and CRCs against tests/oracle/coding.py, a real recording, and libfec where it is installed."""

from __future__ import annotations

import ctypes
import ctypes.util
import random

import pytest

from framecodec.coding import ReedSolomon, crc16_of, crc32_of, randomized
from tests.conftest import testdata
from tests.oracle import coding as oracle

CODES = [(parity, interleave, basis) for parity in (32, 16) for interleave in (1, 5, 8) for basis in ("dual", "conventional")]


def damaged(block: bytes, interleave: int, errors: int, rng: random.Random) -> bytes:
    """The block with `errors` wrong symbols in each codeword."""
    wrong = bytearray(block)
    for word in range(interleave):
        for index in rng.sample(range(len(block) // interleave), errors):
            wrong[index * interleave + word] ^= rng.randrange(1, 256)
    return bytes(wrong)


def seeded(seed: int) -> random.Random:
    print(f"seed {seed}")
    return random.Random(seed)


def test_randomizer_is_the_sequence_of_its_polynomial() -> None:
    assert randomized(bytes(5)).hex() == "ff480ec09a"  # 131.0-B 10.4.1
    assert randomized(bytes(5000)) == oracle.pseudo_random(5000)
    assert randomized(randomized(b"abc" * 1000)) == b"abc" * 1000
    assert randomized(b"") == b""


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1113])
def test_crcs_equal_the_bitwise_ones(size: int) -> None:
    data = seeded(size).randbytes(size)
    assert crc16_of(data) == oracle.crc16(data)
    assert crc32_of(data) == oracle.crc32(data)
    assert crc16_of(data + oracle.crc16(data).to_bytes(2, "big")) == 0
    assert crc32_of(data + oracle.crc32(data).to_bytes(4, "big")) == 0


def test_crc16_of_the_check_string() -> None:
    assert crc16_of(b"123456789") == 0x29B1


@pytest.mark.parametrize(("parity", "interleave", "basis"), CODES)
def test_encoded_blocks_vanish_at_the_roots(parity: int, interleave: int, basis: str) -> None:
    rng = seeded(1)
    code = ReedSolomon(parity, interleave, basis)
    for size in (code.data_bytes, interleave * 20):
        data = rng.randbytes(size)
        block = code.encode(data)
        assert block[:size] == data
        assert all(oracle.is_codeword(word, parity, basis) for word in oracle.codewords(block, interleave))
        assert code.decode(block) == (data, 0)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("parity", "interleave", "basis"), CODES)
def test_every_number_of_errors_up_to_half_the_check_symbols_is_corrected(
    parity: int, interleave: int, basis: str, plain: bool
) -> None:
    rng = seeded(2)
    code = ReedSolomon(parity, interleave, basis, plain=plain)
    for size in (code.data_bytes, interleave, interleave * 101):
        data = rng.randbytes(size)
        block = code.encode(data)
        for errors in range(1, parity // 2 + 1):
            assert code.decode(damaged(block, interleave, errors, rng)) == (data, errors * interleave)


@pytest.mark.parametrize("parity", [32, 16])
def test_vector_instructions_change_nothing(parity: int) -> None:
    """Any words at all: near a codeword, between codewords, noise, and runs of one symbol."""
    rng = seeded(6)
    with_vectors, plain = (ReedSolomon(parity, 1, "dual", plain=plain) for plain in (False, True))
    for size in (255, 255, 200, parity + 1):
        for _ in range(1500):
            block = with_vectors.encode(rng.randbytes(size - parity))
            wrong = damaged(block, 1, min(size, rng.choice((1, 2, *range(3, 21), 60))), rng)
            noise = bytes([rng.randrange(256)]) * size if rng.random() < 0.1 else rng.randbytes(size)
            for word in (wrong, noise):
                assert with_vectors.decode(word) == plain.decode(word)


def test_bursts_at_both_ends_are_corrected() -> None:
    code = ReedSolomon(32, 4, "dual")
    data = bytes(range(223)) * 4
    block = code.encode(data)
    for first in (0, len(block) - 64):
        wrong = bytearray(block)
        wrong[first : first + 64] = bytes(value ^ 0xFF for value in wrong[first : first + 64])
        assert code.decode(wrong) == (data, 64)


@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize("parity", [32, 16])
def test_more_errors_are_refused_or_end_in_another_codeword_that_is_as_near(parity: int, plain: bool) -> None:
    """With too many errors a word may come near another codeword. Then the decoder must have found exactly that one."""
    rng = seeded(3)
    code = ReedSolomon(parity, 1, "dual", plain=plain)
    data = rng.randbytes(code.data_bytes)
    block = code.encode(data)
    refused = 0
    for _ in range(3000):
        wrong = damaged(block, 1, rng.randint(parity // 2 + 1, 60), rng)
        found, corrected = code.decode(wrong)
        if corrected is None:
            refused += 1
            assert found == wrong[: len(found)]
            continue
        whole = code.encode(found)
        assert oracle.is_codeword(whole, parity, "dual")
        assert sum(a != b for a, b in zip(whole, wrong, strict=True)) == corrected <= parity // 2
    # About one word in t! of random ones is near a codeword (16! and 8! = 40,320).
    assert refused >= 2990


def test_corrections_in_the_virtual_fill_are_refused() -> None:
    """A shortened word whose nearest codeword differs in the fill is none of ours."""
    code, full = ReedSolomon(16, 1, "conventional"), ReedSolomon(16, 1, "conventional")
    rng = seeded(4)
    short = rng.randbytes(100)
    filled = bytearray(full.encode(bytes(139) + short))
    filled[3] ^= 1  # an error that the full code corrects at byte 3, which the short code does not send
    other = full.encode(bytes(filled[:239]))[139:]
    assert code.decode(other)[1] is None


def test_a_real_recording_has_only_clean_codewords() -> None:
    data = testdata("cadu", "snpp_viirs_cadu.dat").read_bytes()
    code = ReedSolomon(32, 4, "dual")
    blocks = [randomized(data[at + 4 : at + 1024]) for at in range(0, len(data), 1024)]
    assert [code.decode(block)[1] for block in blocks] == [0] * 65
    words = [word for block in blocks[:3] for word in oracle.codewords(block, 4)]
    assert all(oracle.is_codeword(word, 32, "dual") for word in words)
    assert [ReedSolomon(32, 4, "conventional").decode(block)[1] for block in blocks[:10]] == [None] * 10


NO_CODES = [(30, 1, "dual"), (32, 0, "dual"), (32, 9, "dual"), (32, 1, "other")]


@pytest.mark.parametrize(("parity", "interleave", "basis"), NO_CODES)
def test_codes_that_do_not_exist_are_refused(parity: int, interleave: int, basis: str) -> None:
    with pytest.raises(ValueError, match="no Reed-Solomon code"):
        ReedSolomon(parity, interleave, basis)


@pytest.mark.parametrize("size", [0, 3, 893, 896])
def test_blocks_of_no_possible_size_are_refused(size: int) -> None:
    with pytest.raises(ValueError, match="4 equal parts"):
        ReedSolomon(32, 4).encode(bytes(size))


@pytest.fixture(scope="module")
def libfec() -> ctypes.CDLL:
    name = ctypes.util.find_library("fec")
    if name is None:
        pytest.skip("libfec is not installed (Debian: libfec-dev): not compared with another implementation")
    return ctypes.CDLL(name)


@pytest.mark.parametrize("pad", [0, 1, 100, 222])
def test_encoding_and_decoding_equal_libfec(libfec: ctypes.CDLL, pad: int) -> None:
    rng = seeded(5)
    code = ReedSolomon(32, 1, "dual")
    for _ in range(300):
        data = rng.randbytes(223 - pad)
        parity = ctypes.create_string_buffer(32)
        libfec.encode_rs_ccsds(data, parity, pad)
        block = code.encode(data)
        assert block == data + parity.raw
        errors = rng.randint(0, min(24, len(block)))
        wrong = damaged(block, 1, errors, rng)
        theirs = ctypes.create_string_buffer(wrong, len(wrong))
        count = libfec.decode_rs_ccsds(theirs, None, 0, pad)
        found, corrected = code.decode(wrong)
        if errors <= 16:
            assert (count, theirs.raw) == (errors, block)
            assert (corrected, found) == (errors, data)
        elif corrected is not None:
            assert (count, theirs.raw[: len(found)]) == (corrected, found)
