# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What a telemetry link adds to a transfer frame (CCSDS 131.0-B): Reed-Solomon, the pseudo-randomizer, and frame CRCs.

    code = ReedSolomon(32, interleave=4, basis="dual")        # (255,223); 16 for (255,239)
    block = code.encode(frame)                                # frame, then 4 * 32 check symbols
    frame, corrected = code.decode(randomize(block))          # corrected is None where a codeword cannot be saved

Nearly every codeword of a good pass is clean, so the first question is only whether its check symbols are those of its data:
division by the generator polynomial, eight bytes a step from a table of 64 KiB. The table holds the basis of the link, so
that nothing is converted. Where the answer is no, the difference of the check symbols, which is the remainder of the whole
codeword, is all that framecodec.locator needs to say what is wrong. A codeword counts as corrected only if that explains the
remainder in full and nothing of it falls into the virtual fill.

Shortened codes (virtual fill, 4.3.7) need no fill: leading zeros do not change a remainder. The clauses are cited from memory.
A success says nothing about synchronization: the code is cyclic, so a codeword cut in the wrong place is nearly one. Frames
are found by their marker (framecodec.cadu), never by this.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset

from framecodec.locator cimport ERRORS_MAX, UNCORRECTABLE, Error, find_errors, gamma_power, has_vectors, multiply

__all__ = ["ReedSolomon", "crc16_of", "crc32_of", "randomized"]

cdef extern from *:
    """
    /* A remainder is 32 bytes, check symbol 0 first; four words, so that compilers keep it in registers. */
    typedef uint64_t fc_words __attribute__((vector_size(32), aligned(8)));
    static inline void fc_divide(const uint64_t* table, const uint8_t* data, int64_t size, int stride, uint64_t* out) {
        const fc_words* rows = (const fc_words*) table;
        fc_words state = {0, 0, 0, 0};
        int first = (int) (size & 7);
        for (int index = 8 - first; index < 8 && first; ++index, data += stride)
            state ^= rows[(index << 8) + *data];
        for (int64_t left = size >> 3; left; --left, data += 8 * (int64_t) stride) {
            uint64_t top = state[0];
            fc_words low = {state[1], state[2], state[3], 0};
            low ^= rows[(uint8_t) (top ^ data[0])];
            fc_words high = rows[256 + (uint8_t) ((top >> 8) ^ data[stride])];
            low ^= rows[512 + (uint8_t) ((top >> 16) ^ data[2 * stride])];
            high ^= rows[768 + (uint8_t) ((top >> 24) ^ data[3 * stride])];
            low ^= rows[1024 + (uint8_t) ((top >> 32) ^ data[4 * stride])];
            high ^= rows[1280 + (uint8_t) ((top >> 40) ^ data[5 * stride])];
            low ^= rows[1536 + (uint8_t) ((top >> 48) ^ data[6 * stride])];
            high ^= rows[1792 + (uint8_t) ((top >> 56) ^ data[7 * stride])];
            state = low ^ high;
        }
        __builtin_memcpy(out, &state, 32);
    }
    static inline void fc_xor(const uint8_t* data, const uint8_t* other, uint8_t* out, int64_t size) {
        for (int64_t index = 0; index < size; ++index) out[index] = data[index] ^ other[index];
    }
    """
    void fc_divide(const uint64_t* table, const uint8_t* data, int64_t size, int stride, uint64_t* out) noexcept nogil
    void fc_xor(const uint8_t* data, const uint8_t* other, uint8_t* out, int64_t size) noexcept nogil

cdef enum:
    RANDOM_BYTES = 2040              # eight periods, so that most frames take one pass

# 131.0-B Annex F: alpha^7 .. alpha^0 of the polynomial basis in the dual basis of Berlekamp's encoders.
DUAL_OF_POWERS = (0x8D, 0xEF, 0xEC, 0x86, 0xFA, 0x99, 0xAF, 0x7B)

cdef uint8_t RANDOM[RANDOM_BYTES]
cdef uint16_t CRC16[8][256]
cdef uint32_t CRC32[256]


cdef void fill_tables() noexcept:
    cdef int index, step, bit, register = 0xFF
    cdef uint16_t short_crc
    cdef uint32_t long_crc
    # 10.4.1: h(x) = x^8 + x^7 + x^5 + x^3 + 1, all ones at the beginning of every frame; FF 48 0E C0 9A ...
    memset(RANDOM, 0, RANDOM_BYTES)
    for index in range(8 * RANDOM_BYTES):
        RANDOM[index >> 3] |= <uint8_t> ((register >> 7) << (7 - (index & 7)))
        bit = ((register >> 7) ^ (register >> 4) ^ (register >> 2) ^ register) & 1
        register = ((register << 1) | bit) & 0xFF
    for index in range(256):
        short_crc, long_crc = <uint16_t> (index << 8), <uint32_t> index << 24
        for _ in range(8):
            short_crc = <uint16_t> ((short_crc << 1) ^ (0x1021 if short_crc & 0x8000 else 0))
            long_crc = (long_crc << 1) ^ (0x00A00805 if long_crc & 0x80000000u else 0)
        CRC16[0][index], CRC32[index] = short_crc, long_crc
    for step in range(1, 8):
        for index in range(256):
            short_crc = CRC16[step - 1][index]
            CRC16[step][index] = <uint16_t> (short_crc << 8) ^ CRC16[0][short_crc >> 8]

fill_tables()


cdef uint16_t crc16(const uint8_t* data, int64_t size) noexcept nogil:
    cdef uint32_t crc = 0xFFFF
    while size >= 8:
        crc = (
            CRC16[7][data[0] ^ (crc >> 8)] ^ CRC16[6][data[1] ^ (crc & 0xFF)] ^ CRC16[5][data[2]] ^ CRC16[4][data[3]]
            ^ CRC16[3][data[4]] ^ CRC16[2][data[5]] ^ CRC16[1][data[6]] ^ CRC16[0][data[7]]
        )
        data += 8
        size -= 8
    while size > 0:
        crc = ((crc << 8) & 0xFFFF) ^ CRC16[0][(crc >> 8) ^ data[0]]
        data += 1
        size -= 1
    return <uint16_t> crc


cdef uint32_t crc32(const uint8_t* data, int64_t size) noexcept nogil:
    cdef uint32_t crc = 0
    cdef int64_t index
    for index in range(size):
        crc = (crc << 8) ^ CRC32[(crc >> 24) ^ data[index]]
    return crc


cdef void randomize(const uint8_t* data, uint8_t* out, int64_t size) noexcept nogil:
    while size > RANDOM_BYTES:
        fc_xor(data, RANDOM, out, RANDOM_BYTES)
        data += RANDOM_BYTES
        out += RANDOM_BYTES
        size -= RANDOM_BYTES
    fc_xor(data, RANDOM, out, size)


def crc16_of(const uint8_t[::1] data not None) -> int:
    """The CRC-16 of frames (132.0-B 4.1.6); over a frame and its FECF it is 0."""
    return crc16(&data[0], data.shape[0]) if data.shape[0] else 0xFFFF


def crc32_of(const uint8_t[::1] data not None) -> int:
    """The CRC-32 of USLP frames (732.1-B Annex B, from memory); over a frame and its FECF it is 0."""
    return crc32(&data[0], data.shape[0]) if data.shape[0] else 0


def randomized(const uint8_t[::1] data not None) -> bytes:
    """`data` with the pseudo-random sequence XORed in; twice gives `data` again."""
    cdef bytearray out = bytearray(data.shape[0])
    if data.shape[0]:
        randomize(&data[0], <uint8_t*> <char*> out, data.shape[0])
    return bytes(out)


cdef class ReedSolomon:
    """One Reed-Solomon code of 131.0-B 4: `parity_bytes` 32 or 16, `interleave` 1 to 8, `basis` dual or conventional.

    ValueError for anything else. `plain`: as on processors without AVX2, for tests.
    """

    def __cinit__(self, int parity_bytes=32, int interleave=1, str basis="dual", *, bint plain=False):
        if parity_bytes not in (32, 16) or not 1 <= interleave <= INTERLEAVE_MAX or basis not in ("dual", "conventional"):
            raise ValueError(f"no Reed-Solomon code of {parity_bytes} check symbols, interleave {interleave}, basis '{basis}'")
        self.parity_bytes, self.interleave, self.basis = parity_bytes, interleave, basis
        self.remainders = <uint64_t*> malloc(8 * 256 * 32)
        if self.remainders == NULL:
            raise MemoryError
        self.uses_vectors = has_vectors() and not plain
        self.fill_basis()
        self.fill_remainders()

    def __dealloc__(self):
        free(self.remainders)

    @property
    def data_bytes(self) -> int:
        """The most that one block carries."""
        return self.interleave * (CODEWORD_BYTES - self.parity_bytes)

    def fill_basis(self):
        for value in range(256):
            turned = value
            if self.basis == "dual":
                turned = 0
                for bit in range(8):
                    if value >> bit & 1:
                        turned ^= DUAL_OF_POWERS[7 - bit]
            self.from_field[value] = turned
            self.to_field[turned] = value

    # Row [step][byte]: what a byte with `7 - step` bytes after it in its group of eight leaves behind. A code of 16 check
    # symbols is divided by its generator times x^16, which leaves the same symbols and 16 zeros.
    def fill_remainders(self):
        cdef uint8_t tail[PARITY_MAX]
        cdef uint8_t rest[PARITY_MAX]
        cdef uint8_t* row
        cdef uint8_t top
        cdef int step, value, index, root
        cdef int first_root = 128 - self.parity_bytes // 2
        # The generator without its highest power, which is 1; highest first.
        memset(tail, 0, PARITY_MAX)
        for root in range(self.parity_bytes):
            top = 1
            for index in range(root + 1):
                # Times (x + gamma^root): each coefficient takes the one above it, multiplied.
                value = tail[index] if index < root else 0
                tail[index] = <uint8_t> value ^ multiply(top, gamma_power(first_root + root))
                top = <uint8_t> value
        memcpy(rest, tail, PARITY_MAX)
        for step in range(7, -1, -1):
            for value in range(256):
                row = <uint8_t*> self.remainders + (step * 256 + self.from_field[value]) * 32
                for index in range(PARITY_MAX):
                    row[index] = self.from_field[multiply(<uint8_t> value, rest[index])]
            # Times x, once more divided.
            top = rest[0]
            for index in range(PARITY_MAX):
                rest[index] = (rest[index + 1] if index + 1 < PARITY_MAX else 0) ^ multiply(top, tail[index])

    def check_size(self, size):
        if size <= 0 or size % self.interleave or size > self.data_bytes:
            most = CODEWORD_BYTES - self.parity_bytes
            possible = range(1, INTERLEAVE_MAX + 1)
            fits = next((parts for parts in possible if 0 < size <= parts * most and size % parts == 0), None)
            raise ValueError(
                f"{size} bytes are not {self.interleave} equal parts of 1 to {most} bytes"
                + (f"; interleave {fits} would do" if fits else "")
            )

    def encode(self, const uint8_t[::1] data not None) -> bytes:
        """`data` and its check symbols; ValueError where its size is no multiple of the interleave or too large."""
        self.check_size(data.shape[0])
        cdef int64_t size = data.shape[0]
        cdef bytearray out = bytearray(size + self.interleave * self.parity_bytes)
        cdef uint8_t* block = <uint8_t*> <char*> out
        cdef uint64_t remainder[4]
        cdef int word, index
        memcpy(block, &data[0], size)
        for word in range(self.interleave):
            self.divide(block + word, size // self.interleave, self.interleave, remainder)
            for index in range(self.parity_bytes):
                block[size + index * self.interleave + word] = (<uint8_t*> remainder)[index]
        return bytes(out)

    def decode(self, const uint8_t[::1] block not None) -> tuple:
        """(data, symbols corrected) of a block; (data as received, None) where a codeword has too many errors."""
        cdef int64_t size = block.shape[0] - self.interleave * self.parity_bytes
        self.check_size(size)
        cdef bytearray copy = bytearray(block)
        corrected = self.decode_block(<uint8_t*> <char*> copy, len(copy))
        if corrected == UNCORRECTABLE:
            return bytes(block[:size]), None
        return bytes(copy[:size]), corrected

    cdef void divide(self, const uint8_t* data, int64_t data_bytes, int stride, uint64_t* remainder) noexcept nogil:
        fc_divide(self.remainders, data, data_bytes, stride, remainder)

    cdef int decode_block(self, uint8_t* block, int64_t block_bytes) noexcept nogil:
        cdef int64_t data_bytes = block_bytes // self.interleave - self.parity_bytes
        cdef uint64_t difference[4]
        cdef int word, errors, total = 0
        for word in range(self.interleave):
            if self.is_clean(block + word, data_bytes, difference):
                continue
            errors = self.correct(block + word, data_bytes, <const uint8_t*> difference)
            if errors == UNCORRECTABLE:
                return UNCORRECTABLE
            total += errors
        return total

    # Whether a codeword's check symbols are those of its data; `difference` is how they differ.
    cdef bint is_clean(self, const uint8_t* codeword, int64_t data_bytes, uint64_t* difference) noexcept nogil:
        cdef const uint8_t* checks = codeword + data_bytes * self.interleave
        cdef uint8_t* symbols = <uint8_t*> difference
        cdef int index
        self.divide(codeword, data_bytes, self.interleave, difference)
        for index in range(self.parity_bytes):
            symbols[index] ^= checks[index * self.interleave]
        return (difference[0] | difference[1] | difference[2] | difference[3]) == 0

    # `difference`: the remainder of the codeword, whose place in it is the check symbols'.
    cdef int correct(self, uint8_t* codeword, int64_t data_bytes, const uint8_t* difference) noexcept nogil:
        cdef int parity = self.parity_bytes
        cdef int size = <int> data_bytes + parity
        cdef uint8_t remainder[PARITY_MAX]
        cdef Error errors[ERRORS_MAX]
        cdef int index, count
        for index in range(parity):
            remainder[index] = self.to_field[difference[index]]
        count = find_errors(remainder, parity, 128 - parity // 2, self.uses_vectors, errors)
        for index in range(count):
            if errors[index].place >= size:
                return UNCORRECTABLE                          # in the virtual fill
        for index in range(count):
            codeword[(size - 1 - errors[index].place) * self.interleave] ^= self.from_field[errors[index].value]
        return count
