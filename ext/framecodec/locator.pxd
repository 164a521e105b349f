# Which symbols of a Reed-Solomon codeword are wrong, and by what. See locator.pyx.
from libc.stdint cimport uint8_t

cdef enum:
    ERRORS_MAX = 16
    UNCORRECTABLE = -1

# One wrong symbol: it stands for x^place, and `value` is what must be added to it.
cdef struct Error:
    uint8_t place
    uint8_t value

# In the field of the code: a * b, and gamma^exponent, gamma being the base of the generator's roots.
cdef uint8_t multiply(uint8_t a, uint8_t b) noexcept nogil
cdef uint8_t gamma_power(int exponent) noexcept nogil
cdef bint has_vectors() noexcept nogil
# What makes the `parity` symbols that a codeword leaves when divided by its generator, highest power first and not all 0: how
# many errors, or UNCORRECTABLE. The generator's roots begin with gamma^first_root; `errors` has room for ERRORS_MAX.
cdef int find_errors(const uint8_t* remainder, int parity, int first_root, bint uses_vectors, Error* errors) noexcept nogil
