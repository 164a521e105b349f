# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Raw values out of a packet: numbers of every encoding, bytes and text, of fixed or computed size, at any bit."""
from libc.stdint cimport int64_t, uint8_t, uint64_t
from libc.string cimport memcmp

from framecodec.bits cimport (
    BINARY, IEEE754, STRING, from_little_endian, from_order, read_bits, read_integer, read_real, reverse_bits,
)
from framecodec.conditions cimport evaluate
from framecodec.layouts cimport (
    BAD, OK, SCRATCH_BYTES, SHORT, VALUE_BYTES, VALUE_NONE, VALUE_REAL, VALUE_SIGNED, VALUE_UNSIGNED, FieldC, Machine, Value,
)
from framecodec.text cimport to_utf8

cdef extern from *:
    """
    #define FRAMECODEC_ITEMS(TYPE, LOAD) do { TYPE* restrict to = (TYPE*)out; \\
        for (int64_t i = 0; i < count; i++) { to[i] = LOAD(from); from += sizeof(TYPE); } } while (0)
    static void framecodec_items(uint8_t* out, int bytes, const uint8_t* from, int64_t count) {
        if (bytes == 1) __builtin_memcpy(out, from, (size_t)count);
        else if (bytes == 2) FRAMECODEC_ITEMS(uint16_t, framecodec_be16);
        else if (bytes == 4) FRAMECODEC_ITEMS(uint32_t, framecodec_be32);
        else FRAMECODEC_ITEMS(uint64_t, framecodec_be64);
    }
    """
    void items "framecodec_items"(uint8_t* out, int bytes, const uint8_t* start, int64_t count) noexcept nogil


cdef void read_items(uint8_t* out, int item_bytes, const uint8_t* start, int64_t count) noexcept nogil:
    items(out, item_bytes, start, count)


cdef int read_value(
    Machine* machine, const FieldC* field, const uint8_t* packet, int64_t size, int64_t* bit, Value* value,
) noexcept nogil:
    cdef int64_t bits = field.width
    cdef int64_t start = bit[0]
    cdef uint64_t word
    cdef bint ok = True
    cdef int status
    value.has_value = False
    value.kind = VALUE_NONE
    if start < 0:
        return BAD
    if field.coding == STRING:
        return read_string(machine, field, packet, size, bit, value)
    if field.size >= 0:
        status = evaluate(machine, field.size, &bits)
        if status != OK:
            return status
        if bits < 0:
            return BAD
    if bits > 8 * size or start > 8 * size - bits:
        return SHORT
    bit[0] = start + bits
    if field.coding == BINARY:
        value.size = (bits + 7) >> 3
        value.data = aligned(machine, packet, size, start, bits, False)
        if value.data == NULL:
            return BAD
        value.kind = VALUE_BYTES
        value.bits = <int64_t> read_bits(packet, size, start, <int> bits) if 0 < bits <= 64 else 0
        return OK
    word = read_bits(packet, size, start, field.width)
    if field.is_bit_reversed:
        word = reverse_bits(word, field.width)
    if field.order_count:
        word = from_order(word, field.width, field.order)
    elif field.is_little_endian:
        word = from_little_endian(word, field.width)
    if field.coding >= IEEE754:
        value.real = read_real(word, field.width, field.coding)
        value.kind = VALUE_REAL
        return OK
    value.bits = read_integer(word, field.width, field.coding, &ok)
    value.kind = VALUE_UNSIGNED if field.is_unsigned else VALUE_SIGNED
    if not ok:                                   # a decimal digit above 9: there, but not a number
        value.kind = VALUE_NONE
    return OK


cdef int read_string(
    Machine* machine, const FieldC* field, const uint8_t* packet, int64_t size, int64_t* bit, Value* value,
) noexcept nogil:
    cdef int64_t start = bit[0]
    cdef int64_t end = 8 * size
    cdef int64_t box = -1
    cdef int64_t length, index
    cdef const uint8_t* text
    cdef int status
    cdef int unit = field.termination_bytes
    if field.size >= 0:
        status = evaluate(machine, field.size, &box)
        if status != OK:
            return status
        if box < 0:
            return BAD
    elif field.width >= 0:
        box = field.width
    if start > end:
        return SHORT
    if box >= 0:
        if box > end - start:
            return SHORT
        end = start + box
    length = end - start
    if field.leading_bits:
        if field.leading_bits > length:
            return SHORT
        length = <int64_t> read_bits(packet, size, start, field.leading_bits)      # bits, as space_packet_parser has it
        start += field.leading_bits
        if length < 0 or length > end - start:
            return SHORT
    text = aligned(machine, packet, size, start, length - (length & 7), True)
    if text == NULL:
        return BAD
    bit[0] = end if box >= 0 else start + length
    length >>= 3                                         # odd bits at the end are no character
    if unit:
        index = 0
        while index + unit <= length and memcmp(text + index, field.termination, unit) != 0:
            index += unit
        if index + unit > length:
            if box < 0:
                return SHORT
        else:
            if box < 0:
                bit[0] = start + 8 * (index + unit)
            length = index
    if machine.scratch_used + 3 * length > SCRATCH_BYTES:
        return BAD
    value.size = to_utf8(field.charset, text, length, machine.scratch + machine.scratch_used)
    value.data = machine.scratch + machine.scratch_used
    machine.scratch_used += value.size
    value.kind = VALUE_BYTES
    return OK


# `bits` from `bit` on as whole bytes: in the packet itself if they are, else copied to scratch memory, with the odd bits
# at the end of the last byte (is_left) or, as a number, zeros before the first.
cdef const uint8_t* aligned(
    Machine* machine, const uint8_t* packet, int64_t size, int64_t bit, int64_t bits, bint is_left,
) noexcept nogil:
    cdef int64_t count = (bits + 7) >> 3
    cdef int64_t index, first = bit
    cdef int rest = <int> (bits & 7)
    cdef uint8_t* copy
    if (bit & 7) == 0 and rest == 0:
        return packet + (bit >> 3)
    if machine.scratch_used + count > SCRATCH_BYTES:
        return NULL
    copy = machine.scratch + machine.scratch_used
    machine.scratch_used += count
    index = 0
    if rest and not is_left:
        copy[0] = <uint8_t> read_bits(packet, size, first, rest)
        first += rest
        index = 1
    while index < count:
        copy[index] = <uint8_t> read_bits(packet, size, first, 8)
        first += 8
        index += 1
    return copy
