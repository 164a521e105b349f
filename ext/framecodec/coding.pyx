# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""What a telemetry link adds to a transfer frame (CCSDS 131.0-B): Reed-Solomon, the pseudo-randomizer, and frame CRCs.

    code = ReedSolomon(32, interleave=4, basis="dual")        # (255,223); 16 for (255,239)
    block = code.encode(frame)                                # frame, then 4 * 32 check symbols
    frame, corrected = code.decode(randomize(block))          # corrected is None where a codeword cannot be saved

Nearly every codeword of a good pass is clean, so the first question is only whether its check symbols are those of its data:
division by the generator polynomial, eight bytes a step from a table of 64 KiB. The table holds the basis of the link, so
that nothing is converted. Where the answer is no, the difference of the check symbols, which is the remainder of the whole
codeword, gives the syndromes; Berlekamp and Massey's algorithm, a search for roots and Forney's formula do the rest. A codeword
counts as corrected only if its check symbols are right afterwards and no correction fell into the virtual fill.

Shortened codes (virtual fill, 4.3.7) need no fill: leading zeros do not change a remainder. The clauses are cited from memory.
A success says nothing about synchronization: the code is cyclic, so a codeword cut in the wrong place is nearly one. Frames
are found by their marker (framecodec.cadu), never by this.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

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
    /* Adds one row of 256 bytes. */
    static inline void fc_add_row(fc_words* sums, const uint8_t* row) {
        const fc_words* words = (const fc_words*) row;
        for (int index = 0; index < 8; ++index) sums[index] ^= words[index];
    }
    static inline void fc_xor(const uint8_t* data, const uint8_t* other, uint8_t* out, int64_t size) {
        for (int64_t index = 0; index < size; ++index) out[index] = data[index] ^ other[index];
    }
    """
    void fc_divide(const uint64_t* table, const uint8_t* data, int64_t size, int stride, uint64_t* out) noexcept nogil
    ctypedef struct Words "fc_words":
        pass
    void fc_add_row(Words* sums, const uint8_t* row) noexcept nogil
    void fc_xor(const uint8_t* data, const uint8_t* other, uint8_t* out, int64_t size) noexcept nogil

cdef enum:
    FIELD_POLYNOMIAL = 0x187         # 131.0-B 4.3.2: x^8 + x^7 + x^2 + x + 1
    PRIMITIVE_POWER = 11             # the generator's roots are powers of alpha^11
    ERRORS_MAX = 16
    LOG_OF_ZERO = 510
    RANDOM_BYTES = 2040              # eight periods, so that most frames take one pass

# 131.0-B Annex F: alpha^7 .. alpha^0 of the polynomial basis in the dual basis of Berlekamp's encoders.
DUAL_OF_POWERS = (0x8D, 0xEF, 0xEC, 0x86, 0xFA, 0x99, 0xAF, 0x7B)

# Powers and logarithms of the root gamma = alpha^11, a generator of the field as well. The logarithm of 0 leads into zeros, so
# that a product needs no question.
cdef uint8_t POWER[2 * LOG_OF_ZERO + 1]
cdef uint16_t LOG[256]
cdef uint8_t RANDOM[RANDOM_BYTES]
cdef uint16_t CRC16[8][256]
cdef uint32_t CRC32[256]


cdef void fill_tables() noexcept:
    cdef int value = 1, index, step, bit, register = 0xFF
    cdef uint16_t short_crc
    cdef uint32_t long_crc
    memset(POWER, 0, sizeof(POWER))
    LOG[0] = LOG_OF_ZERO
    for index in range(255):
        POWER[index] = POWER[index + 255] = <uint8_t> value
        LOG[value] = <uint16_t> index
        for step in range(PRIMITIVE_POWER):
            value <<= 1
            if value & 0x100:
                value ^= FIELD_POLYNOMIAL
    # 10.4.1: h(x) = x^8 + x^7 + x^5 + x^3 + 1, all ones at the beginning of every frame; FF 48 0E C0 9A ...
    memset(RANDOM, 0, RANDOM_BYTES)
    for index in range(8 * RANDOM_BYTES):
        RANDOM[index >> 3] |= <uint8_t> ((register >> 7) << (7 - (index & 7)))
        bit = ((register >> 7) ^ (register >> 4) ^ (register >> 2) ^ register) & 1
        register = ((register << 1) | bit) & 0xFF
    for index in range(256):
        short_crc, long_crc = <uint16_t> (index << 8), <uint32_t> index << 24
        for step in range(8):
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


cdef inline uint8_t multiply(uint8_t a, uint8_t b) noexcept nogil:
    return POWER[<int> LOG[a] + LOG[b]]


cdef class ReedSolomon:
    """One Reed-Solomon code of 131.0-B 4: `parity_bytes` 32 or 16, `interleave` 1 to 8, `basis` dual or conventional.

    ValueError for anything else.
    """

    def __cinit__(self, int parity_bytes=32, int interleave=1, str basis="dual"):
        if parity_bytes not in (32, 16) or not 1 <= interleave <= INTERLEAVE_MAX or basis not in ("dual", "conventional"):
            raise ValueError(f"no Reed-Solomon code of {parity_bytes} check symbols, interleave {interleave}, basis '{basis}'")
        self.parity_bytes, self.interleave, self.basis = parity_bytes, interleave, basis
        self.remainders = <uint64_t*> malloc(8 * 256 * 32)
        self.syndromes = <uint64_t*> malloc(PARITY_MAX * 2 * 16 * 32)
        self.roots = <uint8_t*> malloc((ERRORS_MAX + 1) * 2 * 16 * 256)
        if self.remainders == NULL or self.syndromes == NULL or self.roots == NULL:
            raise MemoryError
        self.fill_basis()
        self.fill_remainders()
        self.fill_syndromes()
        self.fill_roots()

    def __dealloc__(self):
        free(self.remainders)
        free(self.syndromes)
        free(self.roots)

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
                tail[index] = <uint8_t> value ^ multiply(top, POWER[(first_root + root) % 255])
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

    # What half `half` (0 the lower four bits) of symbol `index` of a remainder adds to each syndrome, for each value of the
    # half: that symbol stands for x^(parity - 1 - index). Two rows to add, where bits would be eight branches nobody can predict.
    def fill_syndromes(self):
        cdef uint8_t* row
        cdef int index, half, value, root
        cdef int first_root = 128 - self.parity_bytes // 2
        memset(self.syndromes, 0, PARITY_MAX * 2 * 16 * 32)
        for index in range(self.parity_bytes):
            for half in range(2):
                for value in range(16):
                    row = <uint8_t*> self.syndromes + ((index * 2 + half) * 16 + value) * 32
                    for root in range(self.parity_bytes):
                        row[root] = multiply(
                            <uint8_t> (value << 4 * half), POWER[(first_root + root) * (self.parity_bytes - 1 - index) % 255],
                        )

    # Row [power][half][value]: that half of the locator's coefficient times gamma^(-power * place), for places 0 to 254.
    def fill_roots(self):
        cdef uint8_t* row
        cdef int power, half, value, place
        for power in range(ERRORS_MAX + 1):
            for half in range(2):
                for value in range(16):
                    row = self.roots + ((power * 2 + half) * 16 + value) * 256
                    for place in range(256):
                        row[place] = multiply(<uint8_t> (value << 4 * half), POWER[254 * power * place % 255])

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
        cdef int parity = self.parity_bytes, first_root = 128 - self.parity_bytes // 2
        cdef int size = <int> data_bytes + parity
        cdef uint64_t sums[4]
        cdef uint8_t* syndromes = <uint8_t*> sums
        cdef uint8_t locator[PARITY_MAX + 1]
        cdef uint8_t evaluator[ERRORS_MAX]
        cdef uint8_t places[ERRORS_MAX]
        cdef uint8_t corrections[ERRORS_MAX]
        cdef const uint64_t* low
        cdef const uint64_t* high
        cdef int index, errors, power, inverse, exponent
        cdef uint8_t symbol, value, slope
        memset(sums, 0, sizeof(sums))
        for index in range(parity):
            symbol = self.to_field[difference[index]]
            low = self.syndromes + (index * 32 + (symbol & 15)) * 4
            high = self.syndromes + (index * 32 + 16 + (symbol >> 4)) * 4
            sums[0] ^= low[0] ^ high[0]
            sums[1] ^= low[1] ^ high[1]
            sums[2] ^= low[2] ^ high[2]
            sums[3] ^= low[3] ^ high[3]
        errors = find_locator(syndromes, parity, locator)
        if errors <= 0 or errors > parity // 2 or locator[errors] == 0:
            return UNCORRECTABLE
        if find_roots(self.roots, locator, errors, places) != errors:
            return UNCORRECTABLE
        # Forney: with roots from gamma^b on, a magnitude is X^(1-b) omega(1/X) / locator'(1/X).
        for index in range(errors):
            value = 0
            for power in range(index + 1):
                value ^= multiply(locator[power], syndromes[index - power])
            evaluator[index] = value
        for index in range(errors):
            if places[index] >= size:
                return UNCORRECTABLE                          # in the virtual fill
            inverse = 255 - places[index] if places[index] else 0      # the logarithm of 1/X
            value = slope = 0
            exponent = 0
            for power in range(errors):
                value ^= POWER[<int> LOG[evaluator[power]] + exponent]
                if power & 1 == 0:
                    slope ^= POWER[<int> LOG[locator[power + 1]] + exponent]
                exponent += inverse
                exponent -= 255 if exponent >= 255 else 0
            if slope == 0 or value == 0:
                return UNCORRECTABLE
            value = POWER[(LOG[value] + 255 - LOG[slope] + (first_root - 1) * inverse) % 255]
            corrections[index] = self.from_field[value]
        for index in range(errors):
            codeword[(size - 1 - places[index]) * self.interleave] ^= corrections[index]
        if self.is_clean(codeword, data_bytes, sums):
            return errors
        for index in range(errors):
            codeword[(size - 1 - places[index]) * self.interleave] ^= corrections[index]
        return UNCORRECTABLE


# Berlekamp and Massey: the shortest register that makes the syndromes. Its length; `locator` has its coefficients.
cdef int find_locator(const uint8_t* syndromes, int count, uint8_t* locator) noexcept nogil:
    cdef uint8_t before[PARITY_MAX + 1]
    cdef uint8_t kept[PARITY_MAX + 1]
    cdef int length = 0, before_length = 0, shift = 1, step, index, factor, last
    cdef uint8_t discrepancy, before_discrepancy = 1
    memset(locator, 0, PARITY_MAX + 1)
    memset(before, 0, PARITY_MAX + 1)
    locator[0] = before[0] = 1
    for step in range(count):
        discrepancy = syndromes[step]
        for index in range(1, length + 1):
            discrepancy ^= multiply(locator[index], syndromes[step - index])
        if discrepancy == 0:
            shift += 1
            continue
        memcpy(kept, locator, PARITY_MAX + 1)
        factor = LOG[discrepancy] + 255 - LOG[before_discrepancy]
        factor -= 255 if factor >= 255 else 0
        last = before_length if before_length <= PARITY_MAX - shift else PARITY_MAX - shift
        for index in range(last + 1):
            locator[index + shift] ^= POWER[factor + LOG[before[index]]]
        if 2 * length > step:
            shift += 1
            continue
        before_length = length
        length = step + 1 - length
        memcpy(before, kept, PARITY_MAX + 1)
        before_discrepancy = discrepancy
        shift = 1
    return length


# All places where the locator is 0, by adding up whole rows of its terms: how many; at most `errors` go into `places`.
cdef int find_roots(const uint8_t* rows, const uint8_t* locator, int errors, uint8_t* places) noexcept nogil:
    cdef uint64_t sums[32]
    cdef uint8_t* values = <uint8_t*> sums
    cdef int power, word, place
    cdef int found = 0
    memset(sums, 0, sizeof(sums))
    for power in range(errors + 1):
        fc_add_row(<Words*> sums, rows + (power * 32 + (locator[power] & 15)) * 256)
        fc_add_row(<Words*> sums, rows + (power * 32 + 16 + (locator[power] >> 4)) * 256)
    values[CODEWORD_BYTES] = 1                               # no place of a codeword
    for word in range(32):
        # Whether one of eight bytes is 0.
        if ((sums[word] - <uint64_t> 0x0101010101010101ULL) & ~sums[word] & <uint64_t> 0x8080808080808080ULL) == 0:
            continue
        for place in range(8 * word, 8 * word + 8):
            if values[place] == 0:
                if found < errors:
                    places[found] = <uint8_t> place
                found += 1
    return found
