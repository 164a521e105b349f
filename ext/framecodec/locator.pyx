# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Which symbols of a Reed-Solomon codeword are wrong, and by what: from the syndromes to places and values.

Two ways, with the same answer. On processors with AVX2 a product of 32 symbols with one is two shuffles of 16-byte tables, so
whole polynomials are multiplied at once: Berlekamp and Massey's algorithm in the form without inversion that keeps all
discrepancies (Sarwate and Shanbhag 2001, RiBM), which leaves the error evaluator beside the locator, then both polynomials at
all 255 places, and Forney's formula. Elsewhere Berlekamp and Massey as in textbooks, a search for roots by adding up rows of a
table, and Forney's formula. Knows neither the basis of the link nor virtual fill.
"""
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    typedef uint64_t fc_row_words __attribute__((vector_size(32), aligned(8)));
    static inline void fc_add_row(uint64_t* sums, const uint8_t* row) {
        fc_row_words* to = (fc_row_words*) sums;
        const fc_row_words* words = (const fc_row_words*) row;
        for (int index = 0; index < 8; ++index) to[index] ^= words[index];
    }
    #if defined(__x86_64__) && defined(__GNUC__)
    #include <immintrin.h>
    #define FC_AVX2 __attribute__((target("avx2")))
    static int fc_has_vectors(void) { return __builtin_cpu_supports("avx2") != 0; }

    /* 32 symbols times one, given as the 16 products of its lower and the 16 of its upper half. */
    FC_AVX2 static inline __m256i fc_times(const uint8_t* products, __m256i symbols) {
        const __m256i half = _mm256_set1_epi8(15);
        __m256i low = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*) products));
        __m256i high = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*) (products + 16)));
        return _mm256_xor_si256(_mm256_shuffle_epi8(low, _mm256_and_si256(symbols, half)),
                                _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi64(symbols, 4), half)));
    }
    /* RiBM on 64 cells. Afterwards the evaluator begins in cell 0 and the locator in cell parity / 2, with a common factor;
       gives parity - 2 * the length of the register. */
    FC_AVX2 static int fc_solve(const uint8_t* products, int parity, uint8_t* cells) {
        __m256i low = _mm256_loadu_si256((const __m256i*) cells), high = _mm256_loadu_si256((const __m256i*) (cells + 32));
        __m256i kept_low = low, kept_high = high;
        uint8_t factor = 1;
        int excess = 0;
        for (int step = 0; step < parity; ++step) {
            uint8_t discrepancy = (uint8_t) _mm_cvtsi128_si32(_mm256_castsi256_si128(low));
            /* All cells one place down. */
            __m256i next_low = _mm256_alignr_epi8(_mm256_permute2x128_si256(low, high, 0x21), low, 1);
            __m256i next_high = _mm256_alignr_epi8(_mm256_permute2x128_si256(high, high, 0x81), high, 1);
            low = _mm256_xor_si256(
                fc_times(products + 32 * factor, next_low), fc_times(products + 32 * discrepancy, kept_low));
            high = _mm256_xor_si256(
                fc_times(products + 32 * factor, next_high), fc_times(products + 32 * discrepancy, kept_high));
            if (discrepancy && excess >= 0) {
                kept_low = next_low;
                kept_high = next_high;
                factor = discrepancy;
                excess = -excess - 1;
            } else {
                ++excess;
            }
        }
        _mm256_storeu_si256((__m256i*) cells, low);
        _mm256_storeu_si256((__m256i*) (cells + 32), high);
        return excess;
    }
    /* The even and the odd terms of a polynomial at all places: row n of `powers` has x^n of each place. */
    FC_AVX2 static void fc_evaluate(
        const uint8_t* products, const uint8_t* powers, const uint8_t* coefficients, int count, uint8_t* even, uint8_t* odd
    ) {
        for (int at = 0; at < 256; at += 32) {
            __m256i sums[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            for (int power = 0; power < count; ++power) {
                __m256i x = _mm256_loadu_si256((const __m256i*) (powers + 256 * power + at));
                sums[power & 1] = _mm256_xor_si256(sums[power & 1], fc_times(products + 32 * coefficients[power], x));
            }
            _mm256_storeu_si256((__m256i*) (even + at), sums[0]);
            _mm256_storeu_si256((__m256i*) (odd + at), sums[1]);
        }
    }
    /* The places, but for 255, where two rows of 256 symbols are equal: how many. */
    FC_AVX2 static int fc_equal_places(const uint8_t* one, const uint8_t* other, uint8_t* places) {
        int found = 0;
        for (int at = 0; at < 256; at += 32) {
            __m256i left = _mm256_loadu_si256((const __m256i*) (one + at));
            __m256i right = _mm256_loadu_si256((const __m256i*) (other + at));
            uint32_t mask = (uint32_t) _mm256_movemask_epi8(_mm256_cmpeq_epi8(left, right));
            if (at == 224) mask &= 0x7FFFFFFFu;
            for (; mask; mask &= mask - 1) places[found++] = (uint8_t) (at + __builtin_ctz(mask));
        }
        return found;
    }
    /* The sum of `count` rows of 32 symbols, each times its factor. */
    FC_AVX2 static void fc_combine(
        const uint8_t* products, const uint8_t* rows, const uint8_t* numbers, const uint8_t* factors, int count, uint8_t* sums
    ) {
        __m256i sum = _mm256_setzero_si256();
        for (int index = 0; index < count; ++index) {
            __m256i row = _mm256_loadu_si256((const __m256i*) (rows + 32 * numbers[index]));
            sum = _mm256_xor_si256(sum, fc_times(products + 32 * factors[index], row));
        }
        _mm256_storeu_si256((__m256i*) sums, sum);
    }
    #else
    static int fc_has_vectors(void) { return 0; }
    static int fc_solve(const uint8_t* products, int parity, uint8_t* cells) { return -1; }
    static void fc_evaluate(
        const uint8_t* products, const uint8_t* powers, const uint8_t* coefficients, int count, uint8_t* even, uint8_t* odd
    ) {}
    static int fc_equal_places(const uint8_t* one, const uint8_t* other, uint8_t* places) { return 0; }
    static void fc_combine(
        const uint8_t* products, const uint8_t* rows, const uint8_t* numbers, const uint8_t* factors, int count, uint8_t* sums
    ) {}
    #endif
    """
    void fc_add_row(uint64_t* sums, const uint8_t* row) noexcept nogil
    bint fc_has_vectors() noexcept nogil
    int fc_solve(const uint8_t* products, int parity, uint8_t* cells) noexcept nogil
    void fc_evaluate(
        const uint8_t* products, const uint8_t* powers, const uint8_t* coefficients, int count, uint8_t* even, uint8_t* odd,
    ) noexcept nogil
    int fc_equal_places(const uint8_t* one, const uint8_t* other, uint8_t* places) noexcept nogil
    void fc_combine(
        const uint8_t* products, const uint8_t* rows, const uint8_t* numbers, const uint8_t* factors, int count, uint8_t* sums,
    ) noexcept nogil

cdef enum:
    FIELD_POLYNOMIAL = 0x187         # 131.0-B 4.3.2: x^8 + x^7 + x^2 + x + 1
    PRIMITIVE_POWER = 11             # gamma is alpha^11
    PARITY_MAX = 32
    PLACES = 255
    LOG_OF_ZERO = 510
    CELLS = 64

# Powers and logarithms of gamma, a generator of the field. The logarithm of 0 leads into zeros: a product asks for no case.
cdef uint8_t POWER[2 * LOG_OF_ZERO + 1]
cdef uint16_t LOG[256]
cdef uint8_t PRODUCTS[256 * 32]                  # of each symbol with 0 .. 15, and with 16 times that
cdef uint8_t PLACE_POWERS[(ERRORS_MAX + 1) * 256]    # row n: gamma^(-n * place)
cdef uint8_t ROWS[256 * PARITY_MAX]              # row n: gamma^(n * m), m from 0 on: what an error at place n is in syndrome m
# Row [power][half][value]: that half of a coefficient times gamma^(-power * place), for places 0 to 254.
cdef uint8_t ROOT_ROWS[(ERRORS_MAX + 1) * 2 * 16 * 256]


cdef void fill_tables() noexcept:
    cdef int value = 1, index, power, half, place
    memset(POWER, 0, sizeof(POWER))
    LOG[0] = LOG_OF_ZERO
    for index in range(255):
        POWER[index] = POWER[index + 255] = <uint8_t> value
        LOG[value] = <uint16_t> index
        for _ in range(PRIMITIVE_POWER):
            value <<= 1
            if value & 0x100:
                value ^= FIELD_POLYNOMIAL
    for index in range(256):
        for value in range(16):
            PRODUCTS[32 * index + value] = multiply(<uint8_t> index, <uint8_t> value)
            PRODUCTS[32 * index + 16 + value] = multiply(<uint8_t> index, <uint8_t> (value << 4))
        for power in range(PARITY_MAX):
            ROWS[PARITY_MAX * index + power] = gamma_power(index * power)
    for power in range(ERRORS_MAX + 1):
        for place in range(256):
            PLACE_POWERS[256 * power + place] = POWER[254 * power * place % 255]
            for half in range(2):
                for value in range(16):
                    ROOT_ROWS[((power * 2 + half) * 16 + value) * 256 + place] = multiply(
                        <uint8_t> (value << 4 * half), PLACE_POWERS[256 * power + place],
                    )


cdef uint8_t multiply(uint8_t a, uint8_t b) noexcept nogil:
    return POWER[<int> LOG[a] + LOG[b]]


cdef uint8_t gamma_power(int exponent) noexcept nogil:
    return POWER[exponent % 255]


fill_tables()


cdef bint has_vectors() noexcept nogil:
    return fc_has_vectors()


cdef int find_errors(const uint8_t* remainder, int parity, int first_root, bint uses_vectors, Error* errors) noexcept nogil:
    cdef uint8_t syndromes[PARITY_MAX]
    cdef uint8_t explained[PARITY_MAX]
    cdef uint8_t places[PARITY_MAX]
    cdef uint8_t values[PARITY_MAX]
    cdef int index, count
    memset(places, 0, PARITY_MAX)
    for index in range(parity):
        places[index] = <uint8_t> (parity - 1 - index)
    add_up(places, remainder, parity, first_root, uses_vectors, syndromes)
    if uses_vectors:
        count = find_with_vectors(syndromes, parity, first_root, errors)
    else:
        count = find_plainly(syndromes, parity, first_root, errors)
    if count == UNCORRECTABLE:
        return UNCORRECTABLE
    # Whatever the algorithms think: with these errors undone all syndromes must be 0.
    for index in range(count):
        places[index], values[index] = errors[index].place, errors[index].value
    add_up(places, values, count, first_root, uses_vectors, explained)
    return count if memcmp(syndromes, explained, parity) == 0 else UNCORRECTABLE


# The syndromes of symbols at some places: the sums of value * gamma^(place * root). All PARITY_MAX of them.
cdef void add_up(
    const uint8_t* places, const uint8_t* values, int count, int first_root, bint uses_vectors, uint8_t* syndromes,
) noexcept nogil:
    cdef uint8_t factors[PARITY_MAX]
    cdef const uint8_t* row
    cdef int index, root
    for index in range(count):
        factors[index] = multiply(values[index], POWER[first_root * places[index] % 255])
    if uses_vectors:
        fc_combine(PRODUCTS, ROWS, places, factors, count, syndromes)
        return
    memset(syndromes, 0, PARITY_MAX)
    for index in range(count):
        row = ROWS + PARITY_MAX * places[index]
        for root in range(PARITY_MAX):
            syndromes[root] ^= multiply(factors[index], row[root])


cdef int find_with_vectors(const uint8_t* syndromes, int parity, int first_root, Error* errors) noexcept nogil:
    cdef uint8_t cells[CELLS]
    cdef uint8_t even[256]
    cdef uint8_t odd[256]
    cdef uint8_t value[256]
    cdef uint8_t other[256]
    cdef uint8_t places[256]
    cdef const uint8_t* locator = cells + parity // 2
    cdef int excess, length, place, index
    cdef uint8_t slope, evaluated
    memset(cells, 0, CELLS)
    memcpy(cells, syndromes, parity)
    cells[3 * parity // 2] = 1
    excess = fc_solve(PRODUCTS, parity, cells)
    length = (parity - excess) // 2
    if excess < 0 or length == 0 or locator[length] == 0 or locator[0] == 0:
        return UNCORRECTABLE
    fc_evaluate(PRODUCTS, PLACE_POWERS, locator, length + 1, even, odd)
    if fc_equal_places(even, odd, places) != length:
        return UNCORRECTABLE
    fc_evaluate(PRODUCTS, PLACE_POWERS, cells, length, value, other)
    # Forney, with the evaluator that RiBM leaves: X^-(b + parity) evaluator(1/X) / (the locator's odd terms at 1/X).
    for index in range(length):
        place = places[index]
        slope, evaluated = odd[place], value[place] ^ other[place]
        if slope == 0 or evaluated == 0:
            return UNCORRECTABLE
        errors[index].place = <uint8_t> place
        errors[index].value = POWER[(LOG[evaluated] + 255 - LOG[slope] + (first_root + parity) * (255 - place)) % 255]
    return length


cdef int find_plainly(const uint8_t* syndromes, int parity, int first_root, Error* errors) noexcept nogil:
    cdef uint8_t locator[PARITY_MAX + 1]
    cdef uint8_t evaluator[ERRORS_MAX]
    cdef int index, power, inverse, exponent
    cdef uint8_t value, slope
    cdef int length = find_locator(syndromes, parity, locator)
    if length <= 0 or length > parity // 2 or locator[length] == 0 or find_roots(locator, length, errors) != length:
        return UNCORRECTABLE
    # Forney: with roots from gamma^b on, a value is X^(1-b) evaluator(1/X) / locator'(1/X).
    for index in range(length):
        value = 0
        for power in range(index + 1):
            value ^= multiply(locator[power], syndromes[index - power])
        evaluator[index] = value
    for index in range(length):
        inverse = 255 - errors[index].place if errors[index].place else 0      # the logarithm of 1/X
        value = slope = 0
        exponent = 0
        for power in range(length):
            value ^= POWER[<int> LOG[evaluator[power]] + exponent]
            if power & 1 == 0:
                slope ^= POWER[<int> LOG[locator[power + 1]] + exponent]
            exponent += inverse
            exponent -= 255 if exponent >= 255 else 0
        if slope == 0 or value == 0:
            return UNCORRECTABLE
        errors[index].value = POWER[(LOG[value] + 255 - LOG[slope] + (first_root - 1) * inverse) % 255]
    return length


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


# All places where the locator is 0, by adding up whole rows of its terms: how many; at most `length` go into `errors`.
cdef int find_roots(const uint8_t* locator, int length, Error* errors) noexcept nogil:
    cdef uint64_t sums[32]
    cdef uint8_t* values = <uint8_t*> sums
    cdef int power, word, place
    cdef int found = 0
    memset(sums, 0, sizeof(sums))
    for power in range(length + 1):
        fc_add_row(sums, ROOT_ROWS + (power * 32 + (locator[power] & 15)) * 256)
        fc_add_row(sums, ROOT_ROWS + (power * 32 + 16 + (locator[power] >> 4)) * 256)
    values[PLACES] = 1                                       # no place of a codeword
    for word in range(32):
        # Whether one of eight bytes is 0.
        if ((sums[word] - <uint64_t> 0x0101010101010101ULL) & ~sums[word] & <uint64_t> 0x8080808080808080ULL) == 0:
            continue
        for place in range(8 * word, 8 * word + 8):
            if values[place] == 0:
                if found < length:
                    errors[found].place = <uint8_t> place
                found += 1
    return found
