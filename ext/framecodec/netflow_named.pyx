# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Enterprise elements as samples: numbers as values, anything else as text; what nobody named as its octets in hexadecimal.

Encodings are those of RFC 7011 section 6.1, reduced sizes included.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy, strlen

from framecodec.elements cimport (
    Elements, FORM_ADDRESS, FORM_BOOLEAN, FORM_MAC, FORM_OCTETS, FORM_SIGNED, FORM_STRING, FORM_UNSIGNED, Field, Named,
    OP_UNKNOWN, Op,
)
from framecodec.netflow_fields cimport number_of
from framecodec.rack cimport GAUGE, RackDecoder, write_ipv4
from framecodec.rack_text cimport utf8_prefix, write_address, write_mac

__all__: list[str] = []

cdef enum:
    TEXT_BYTES_MAX = 255
    HEX_BYTES_MAX = 128                  # the rest of longer octets is cut
    METRICS_MAX = 1 << 16                # senders choose the numbers; names of metrics are never forgotten


cdef int sample_named(
    RackDecoder self, Elements elements, const Field* field, const Op* op, int32_t entity, const uint8_t* p, uint32_t length,
) noexcept nogil:
    cdef const Named* named
    cdef char text[2 * HEX_BYTES_MAX + 1]
    cdef uint8_t address[16]
    cdef double value
    cdef int32_t metric
    cdef int64_t size
    if op.operation == OP_UNKNOWN:
        if self.metrics.count > METRICS_MAX:
            self.unknown_records += 1
            return 0
        snprintf(text, sizeof(text), b"enterprise_%u_%u", <unsigned int> field.enterprise, <unsigned int> field.element)
        metric = self.metrics.intern(<const uint8_t*> text, strlen(text))
        if metric < 0:
            self.out_of_memory = True
            return -1
        return sample_octets(self, entity, metric, p, length)
    named = &elements.named[op.named]
    if named.form == FORM_OCTETS:
        return sample_octets(self, entity, named.metric, p, length)
    if named.form == FORM_STRING:
        # Up to the first octet that is no text, mostly zero padding.
        size = utf8_prefix(p, length if length < TEXT_BYTES_MAX else TEXT_BYTES_MAX)
        return self.text_sample(entity, named.metric, p, size) if size else 0
    if named.form == FORM_MAC:
        if length != 6:
            return 0
        write_mac(p, text)
        return self.text_sample(entity, named.metric, <const uint8_t*> text, strlen(text))
    if named.form == FORM_ADDRESS:
        if length == 4:
            write_ipv4(address, p)
        elif length == 16:
            memcpy(address, p, 16)
        else:
            return 0
        write_address(address, text)
        return self.text_sample(entity, named.metric, <const uint8_t*> text, strlen(text))
    if length == 0 or length > 8 or not number(named.form, p, length, &value):
        return 0
    return self.sample(entity, named.metric, value, GAUGE, named.unit)


# 1 and the value, or 0 when there is none in these octets.
cdef bint number(int form, const uint8_t* p, uint32_t length, double* value) noexcept nogil:
    cdef uint64_t word = number_of(p, length)
    cdef uint32_t word32
    cdef float single
    if form == FORM_UNSIGNED:
        value[0] = <double> word
    elif form == FORM_SIGNED:
        # Sign-extended from the octets that were sent.
        value[0] = <double> (<int64_t> (word << (64 - 8 * length)) >> (64 - 8 * length))
    elif form == FORM_BOOLEAN:
        # 1 true, 2 false [RFC 7011 6.1.5].
        if word != 1 and word != 2:
            return False
        value[0] = 1 if word == 1 else 0
    elif length == 4:
        word32 = <uint32_t> word
        memcpy(&single, &word32, 4)
        value[0] = single
    elif length == 8:
        memcpy(value, &word, 8)
    else:
        return False
    return value[0] == value[0]              # NaN is no value


cdef int sample_octets(RackDecoder self, int32_t entity, int32_t metric, const uint8_t* p, uint32_t length) noexcept nogil:
    cdef char text[2 * HEX_BYTES_MAX + 1]
    cdef uint32_t index
    if length > HEX_BYTES_MAX:
        length = HEX_BYTES_MAX
    if length == 0:
        return 0
    for index in range(length):
        snprintf(text + 2 * index, 3, b"%02x", <unsigned int> p[index])
    return self.text_sample(entity, metric, <const uint8_t*> text, 2 * length)
