# Reed-Solomon, pseudo-randomizer and CRCs of CCSDS links. See coding.pyx.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    CODEWORD_BYTES = 255
    PARITY_MAX = 32
    INTERLEAVE_MAX = 8

# x^16 + x^12 + x^5 + 1, preset to ones: the FECF of TM, AOS and USLP. A frame with its FECF gives 0.
cdef uint16_t crc16(const uint8_t* data, int64_t size) noexcept nogil
# x^32 + x^23 + x^21 + x^11 + x^2 + 1, preset to zeros: the long FECF of USLP. A frame with its FECF gives 0.
cdef uint32_t crc32(const uint8_t* data, int64_t size) noexcept nogil
# XORs the pseudo-random sequence, from its beginning, into `size` bytes.
cdef void randomize(const uint8_t* data, uint8_t* out, int64_t size) noexcept nogil


cdef class ReedSolomon:
    cdef readonly int parity_bytes       # of each codeword: 32 or 16
    cdef readonly int interleave
    cdef readonly str basis
    cdef uint64_t* remainders            # owned; [8][256][4], see fill_remainders
    cdef bint uses_vectors               # of the processor; see framecodec.locator
    cdef uint8_t to_field[256]           # from the basis of the link to powers of alpha, and back
    cdef uint8_t from_field[256]

    # Corrects an interleaved block in place: data bytes, then interleave * parity_bytes check symbols. The number of symbols
    # that were wrong, or UNCORRECTABLE; the block is then as it was, but for codewords that could be corrected.
    cdef int decode_block(self, uint8_t* block, int64_t block_bytes) noexcept nogil
    # The remainder of one codeword (its first `data_bytes` bytes, `stride` apart): 32 bytes, check symbols first.
    cdef void divide(self, const uint8_t* data, int64_t data_bytes, int stride, uint64_t* remainder) noexcept nogil
    cdef bint is_clean(self, const uint8_t* codeword, int64_t data_bytes, uint64_t* difference) noexcept nogil
    # `codeword` is the first symbol of one in its block, `difference` what is_clean found.
    cdef int correct(self, uint8_t* codeword, int64_t data_bytes, const uint8_t* difference) noexcept nogil
