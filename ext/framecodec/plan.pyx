# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A compiled definition (streams.definitions), running: packets to columns of raw and calibrated values.

    plan = Plan(definition)
    for container, batch in plan.decode(records):            # records: bytes; batch: packet, raw, values
        pyarrow.record_batch(batch)

Two passes. The first decides for every packet which container it is, by the definition's tree of conditions; where only the
packet's first 16 bits (version, type, APID) decide, the answer is remembered for all packets that begin alike. The second
takes the packets of one container together: what stands at a constant place is read column by column over blocks of 256
packets, which stay in the cache; everything else (dynamic sizes, conditions, repeats, strings) is run packet by packet.

A packet that is too short for its container keeps the values that fit. Nothing here knows what a space packet is, beyond
those 16 bits being the same kind of thing for all packets. Time is what the packets say; see `time_of`.
"""
cimport cython
from libc.math cimport isnan, trunc
from libc.stdint cimport INT64_MAX, int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset

from framecodec.bits cimport (
    BINARY, IEEE754, STRING, from_little_endian, from_order, load_be64, read_bits, read_integer, read_real, reverse_bits,
)
from framecodec.layouts cimport (
    CALIBRATOR_MATH, CALIBRATOR_POLYNOMIAL, MAKE_CALIBRATED, MAKE_LABEL, MAKE_NOTHING, MAKE_POLYNOMIAL, MAKE_SPAN, MAKE_TEXT, MAKE_TIME,
    MODE_BYTES, MODE_RANGES, MODE_REAL, MODE_SLOT, NO_CONTAINER, OP_ENTER, OP_IF, OP_ITEM, OP_LEAVE, OP_LOAD, OP_LOOP, OP_MOVE_BY,
    OP_MOVE_TO, OP_NEXT, OP_READ, OP_RESTORE, OP_RUN, OP_SAVE, OP_SEEK, TEST_AND, TEST_COMPARE, VALUE_BYTES, VALUE_NONE, VALUE_REAL,
    VALUE_SIGNED, VALUE_UNSIGNED, CalibratorC, ExpressionC, FieldC, FixedC, InstructionC, LayoutC, LoadC, NodeC, ProgramC, TestC, Value,
)
from framecodec.text cimport to_utf8
from framecodec.timecodes cimport NO_TIME, read_code, to_utc
from framecodec.tree_out cimport TreeLayout
from framecodec.trees cimport Cells, Tree
from framecodec.values cimport compare_bytes, compare_numbers, compute, load_cell, number_of, ordered, whole_of, write_number

cdef extern from *:
    """
    /* One column of one block: the bits after `lead` of the eight bytes at `window` of each packet. Whole bytes are loaded as
       what they are; the rest through a shift to the left (what is before goes) and one to the right. */
    #define FRAMECODEC_LOOP(TYPE, EXPRESSION) do { TYPE* restrict to = (TYPE*)out; \\
        if (stride) { const uint8_t* at = packets[0] + window; \\
            _Pragma("GCC unroll 4") for (int64_t i = 0; i < count; i++) { to[i] = (TYPE)(EXPRESSION); at += stride; } } \\
        else _Pragma("GCC unroll 4") for (int64_t i = 0; i < count; i++) { \\
            const uint8_t* at = packets[i] + window; to[i] = (TYPE)(EXPRESSION); } } while (0)
    /* How far apart the packets are if that is the same for all of them, else 0. */
    static int64_t framecodec_stride(const uint8_t** packets, int64_t count) {
        int64_t i, stride = count > 1 ? packets[1] - packets[0] : 0;
        for (i = 2; i < count; i++) if (packets[i] - packets[i - 1] != stride) return 0;
        return stride;
    }
    static inline uint64_t framecodec_word(const uint8_t* at) {
        uint64_t word; __builtin_memcpy(&word, at, 8); return __builtin_bswap64(word); }
    static inline uint32_t framecodec_half(const uint8_t* at) {
        uint32_t word; __builtin_memcpy(&word, at, 4); return __builtin_bswap32(word); }
    static inline uint16_t framecodec_quarter(const uint8_t* at) {
        uint16_t word; __builtin_memcpy(&word, at, 2); return __builtin_bswap16(word); }
    static void framecodec_fill(uint8_t* out, int bytes, const uint8_t** restrict packets, int64_t stride, int64_t count, int64_t window,
                                int lead, int width, int is_signed) {
        int shift = 64 - width;
        if ((lead & 7) == 0 && width == 8 * bytes) {
            window += lead >> 3;
            if (bytes == 1) FRAMECODEC_LOOP(uint8_t, *at);
            else if (bytes == 2) FRAMECODEC_LOOP(uint16_t, framecodec_quarter(at));
            else if (bytes == 4) FRAMECODEC_LOOP(uint32_t, framecodec_half(at));
            else FRAMECODEC_LOOP(uint64_t, framecodec_word(at));
        } else if (is_signed) {
            if (bytes == 1) FRAMECODEC_LOOP(int8_t, (int64_t)(framecodec_word(at) << lead) >> shift);
            else if (bytes == 2) FRAMECODEC_LOOP(int16_t, (int64_t)(framecodec_word(at) << lead) >> shift);
            else if (bytes == 4) FRAMECODEC_LOOP(int32_t, (int64_t)(framecodec_word(at) << lead) >> shift);
            else FRAMECODEC_LOOP(int64_t, (int64_t)(framecodec_word(at) << lead) >> shift);
        } else {
            if (bytes == 1) FRAMECODEC_LOOP(uint8_t, (framecodec_word(at) << lead) >> shift);
            else if (bytes == 2) FRAMECODEC_LOOP(uint16_t, (framecodec_word(at) << lead) >> shift);
            else if (bytes == 4) FRAMECODEC_LOOP(uint32_t, (framecodec_word(at) << lead) >> shift);
            else FRAMECODEC_LOOP(uint64_t, (framecodec_word(at) << lead) >> shift);
        }
    }
    /* The same for `count` whole numbers one after another. */
    static void framecodec_run(uint8_t* out, int bytes, const uint8_t* from, int64_t count) {
        const uint8_t* at;
        if (bytes == 1) { __builtin_memcpy(out, from, (size_t)count); return; }
        if (bytes == 2) { uint16_t* restrict to = (uint16_t*)out; for (int64_t i = 0; i < count; i++) { at = from + 2 * i; to[i] = framecodec_quarter(at); } }
        else if (bytes == 4) { uint32_t* restrict to = (uint32_t*)out; for (int64_t i = 0; i < count; i++) { at = from + 4 * i; to[i] = framecodec_half(at); } }
        else { uint64_t* restrict to = (uint64_t*)out; for (int64_t i = 0; i < count; i++) { at = from + 8 * i; to[i] = framecodec_word(at); } }
    }
    /* A polynomial over a column: Horner's rule, coefficients by rising power. */
    #define FRAMECODEC_HORNER(TYPE) do { const TYPE* restrict x = (const TYPE*)raw; \\
        if (terms == 2) { double a = c[0], b = c[1]; for (int64_t i = 0; i < count; i++) out[i] = b * (double)x[i] + a; } \\
        else for (int64_t i = 0; i < count; i++) { double v = (double)x[i], y = c[terms - 1]; \\
            for (int t = terms - 2; t >= 0; t--) { y = y * v + c[t]; } out[i] = y; } } while (0)
    static void framecodec_horner(double* restrict out, const void* raw, int bytes, int is_unsigned, int is_real, int64_t count,
                                  const double* c, int terms) {
        if (is_real) { if (bytes == 4) FRAMECODEC_HORNER(float); else FRAMECODEC_HORNER(double); }
        else if (is_unsigned) {
            if (bytes == 1) FRAMECODEC_HORNER(uint8_t); else if (bytes == 2) FRAMECODEC_HORNER(uint16_t);
            else if (bytes == 4) FRAMECODEC_HORNER(uint32_t); else FRAMECODEC_HORNER(uint64_t);
        } else {
            if (bytes == 1) FRAMECODEC_HORNER(int8_t); else if (bytes == 2) FRAMECODEC_HORNER(int16_t);
            else if (bytes == 4) FRAMECODEC_HORNER(int32_t); else FRAMECODEC_HORNER(int64_t);
        }
    }
    /* What an expression may start from: its slope is bounded so that the product stays inside int64. */
    #define FRAMECODEC_WHOLE_MAX INT64_C(1000000000000000)
    """
    const int64_t WHOLE_MAX "FRAMECODEC_WHOLE_MAX"
    void framecodec_fill(
        uint8_t* out, int bytes, const uint8_t** packets, int64_t stride, int64_t count, int64_t window, int lead, int width, bint is_signed,
    ) noexcept nogil
    int64_t framecodec_stride(const uint8_t** packets, int64_t count) noexcept nogil
    void framecodec_run(uint8_t* out, int bytes, const uint8_t* start, int64_t count) noexcept nogil
    void framecodec_horner(
        double* out, const void* raw, int bytes, bint is_unsigned, bint is_real, int64_t count, const double* coefficients, int terms,
    ) noexcept nogil

cdef enum:
    OK = 0
    SHORT = 1                # the packet ends before the value
    BAD = 2                  # a size, count or place that cannot be
    OUT_OF_MEMORY = -1

    BLOCK_PACKETS = 256
    NESTING_MAX = 80         # streams.definitions.layout.NESTING_MAX of containers, of loops
    # Converted strings and shifted binaries of one packet; a packet has 64 KiB, a converted string thrice its size at most.
    SCRATCH_BYTES = 1048576
    MEMORY_MASK = 0x7FF      # a place for each APID; packets of another version, type or flag may take it over


@cython.final
cdef class Plan:
    """`parameters`: names or paths of those to compute, all if None; ValueError for one that the definition does not have."""

    def __cinit__(self, definition, parameters=None):
        self.definition = definition
        self.texts = []
        self.trees, self.outputs = [], []
        self.stamp = self.slices = 1
        self.memory = <Remembered*> malloc((MEMORY_MASK + 1) * sizeof(Remembered))
        self.scratch = <uint8_t*> malloc(SCRATCH_BYTES)
        self.slot_count = len(definition.slots)
        self.slots = <Value*> calloc(self.slot_count + 1, sizeof(Value))
        if self.memory == NULL or self.scratch == NULL or self.slots == NULL:
            raise MemoryError
        memset(self.memory, 0xFF, (MEMORY_MASK + 1) * sizeof(Remembered))
        from framecodec.planning import build        # it knows Plan, so Plan can know it only now
        build(self, parameters)

    def __dealloc__(self):
        cdef int index
        if self.layouts != NULL:
            for index in range(self.container_count):
                free(self.layouts[index].fixed)
                free(self.layouts[index].tail.steps)
                free(self.layouts[index].full.steps)
        if self.deciding != NULL:
            for index in range(self.layout_count):
                free(self.deciding[index].steps)
        if self.nodes != NULL:
            for index in range(self.node_count):
                free(self.nodes[index].children)
                free(self.nodes[index].loads)
        free(self.fields)
        free(self.labels)
        free(self.label_table)
        free(self.calibrators)
        free(self.numbers)
        free(self.math)
        free(self.tests)
        free(self.condition_start)
        free(self.ranges)
        free(self.expressions)
        free(self.lookups)
        free(self.layouts)
        free(self.deciding)
        free(self.nodes)
        free(self.slots)
        free(self.memory)
        free(self.scratch)

    def decode(self, records: list[bytes]) -> list:
        """Decode records, each from its first byte: a list of (container index, Batch).

        A batch has the columns `packet` (number of the record), `raw` and `values`. Records that are no container of the
        definition are in none.
        """
        cdef int64_t count = len(records)
        cdef int64_t index
        cdef bytes record
        cdef const uint8_t** packets = <const uint8_t**> malloc((count + 1) * sizeof(uint8_t*))
        cdef int32_t* sizes = <int32_t*> malloc((count + 1) * sizeof(int32_t))
        cdef int32_t* containers = <int32_t*> malloc((count + 1) * sizeof(int32_t))
        cdef int64_t* rows = <int64_t*> malloc((count + 1) * sizeof(int64_t))
        cdef int64_t* numbers = <int64_t*> malloc((count + 1) * sizeof(int64_t))
        cdef uint8_t* shorts = <uint8_t*> malloc(count + 1)
        cdef int status
        try:
            if packets == NULL or sizes == NULL or containers == NULL or rows == NULL or numbers == NULL or shorts == NULL:
                raise MemoryError
            for index in range(count):
                numbers[index] = index
                record = records[index]
                packets[index] = <const uint8_t*> <char*> record
                sizes[index] = <int32_t> len(record)
            with nogil:
                status = self.decode_packets(packets, sizes, count, containers, rows, shorts, numbers)
            if status < 0:
                raise MemoryError
        finally:
            free(packets)
            free(sizes)
            free(containers)
            free(rows)
            free(numbers)
            free(shorts)
        return self.take()

    def take(self) -> list:
        """What was decoded since the last time, as (container index, framecodec.arrow_out.Batch) in the order of the definition."""
        return [(index, (<TreeLayout> self.outputs[index]).take_out()) for index, tree in enumerate(self.trees) if len(tree)]

    cdef void clear(self) noexcept nogil:
        cdef int index
        for index in range(self.container_count):
            (<Tree> self.layouts[index].tree).clear()

    # -- deciding ------------------------------------------------------------------------------------------------------
    cdef int32_t classify(self, const uint8_t* packet, int64_t size) noexcept nogil:
        cdef int32_t found
        cdef int begins = (packet[0] << 8) | packet[1] if size >= 2 else -1
        if begins >= 0 and self.memory[begins & MEMORY_MASK].begins == begins:
            return self.memory[begins & MEMORY_MASK].container
        self.stamp += 1
        self.scratch_used = 0
        self.consulted_bits = 0
        found = self.descend(0, packet, size)
        if begins >= 0 and self.consulted_bits <= 16:
            self.memory[begins & MEMORY_MASK].begins, self.memory[begins & MEMORY_MASK].container = begins, found
        return found

    cdef int32_t descend(self, int number, const uint8_t* packet, int64_t size) noexcept nogil:
        cdef NodeC* node = &self.nodes[number]
        cdef LoadC* load
        cdef FieldC* field
        cdef Value* slot
        cdef int index
        cdef int32_t found
        cdef int64_t bit
        for index in range(node.load_count):
            load = &node.loads[index]
            if load.bit < 0:
                self.consulted_bits = 0x7FFFFFFF
                self.run(&self.deciding[node.layout], NULL, packet, size)
                break
        for index in range(node.load_count):
            load = &node.loads[index]
            if load.bit < 0:
                continue
            field = &self.fields[load.field]
            slot = &self.slots[load.slot]
            bit = load.bit
            if self.read_value(field, packet, size, &bit, slot) == OK:
                self.finish(field, slot)
                slot.stamp = self.stamp
                if bit > self.consulted_bits:
                    self.consulted_bits = bit
            else:
                slot.stamp = 0
                self.consulted_bits = 0x7FFFFFFF
        for index in range(node.child_count):
            if self.holds(self.nodes[node.children[index]].condition):
                found = self.descend(node.children[index], packet, size)
                if found != NO_CONTAINER:
                    return found
        return node.container

    cdef bint holds(self, int condition) noexcept nogil:
        cdef bint stack[256]
        cdef int depth = 0
        cdef int index, part
        cdef bint result
        cdef TestC* test
        if condition < 0:
            return True
        for index in range(self.condition_start[condition], self.condition_start[condition + 1]):
            test = &self.tests[index]
            if test.kind == TEST_COMPARE:
                result = self.compare(test)
            else:
                result = test.kind == TEST_AND
                for part in range(test.count):
                    depth -= 1
                    result = (result and stack[depth]) if test.kind == TEST_AND else (result or stack[depth])
            stack[depth] = result
            depth += 1
        return depth == 0 or stack[depth - 1]

    cdef bint compare(self, const TestC* test) noexcept nogil:
        cdef Value* slot = &self.slots[test.slot]
        cdef Value* other
        cdef int index, order
        cdef bint inside = False
        cdef Value constant
        if slot.stamp != self.stamp:
            return False
        if test.mode == MODE_RANGES:
            for index in range(test.range_start, test.range_start + test.range_count):
                if self.ranges[2 * index] <= whole_of(slot) <= self.ranges[2 * index + 1]:
                    inside = True
            return inside == (test.operator == 0)
        if test.mode == MODE_BYTES:
            if slot.kind != VALUE_BYTES:
                return False
            order = compare_bytes(slot.data, slot.size, test.data, test.size)
            return ordered(test.operator, order)
        if test.mode == MODE_SLOT:
            other = &self.slots[test.other]
            if other.stamp != self.stamp:
                return False
            if slot.kind == VALUE_BYTES or other.kind == VALUE_BYTES:
                if slot.kind != other.kind:
                    return False
                return ordered(test.operator, compare_bytes(slot.data, slot.size, other.data, other.size))
            return compare_numbers(slot, test.is_calibrated, other, test.other_is_calibrated, test.operator)
        constant.kind = VALUE_REAL if test.mode == MODE_REAL else VALUE_UNSIGNED if test.is_unsigned else VALUE_SIGNED
        constant.bits = test.whole
        constant.real = test.real
        constant.has_value = False
        return compare_numbers(slot, test.is_calibrated, &constant, False, test.operator)

    cdef int evaluate(self, int number, int64_t* result) noexcept nogil:
        cdef ExpressionC* expression = &self.expressions[number]
        cdef Value* slot
        cdef int index
        cdef double real
        cdef int64_t whole
        if expression.lookup_count:
            for index in range(expression.lookup, expression.lookup + expression.lookup_count):
                if self.holds(self.lookups[index].condition):
                    result[0] = self.lookups[index].value
                    return OK
            return BAD
        result[0] = expression.intercept
        if expression.slot < 0:
            return OK
        slot = &self.slots[expression.slot]
        if slot.stamp != self.stamp:
            return BAD
        if (expression.is_calibrated and slot.has_value) or slot.kind == VALUE_REAL:
            real = slot.value if expression.is_calibrated and slot.has_value else slot.real
            if not -<double> WHOLE_MAX < real < <double> WHOLE_MAX:
                return BAD
            whole = <int64_t> real
        else:
            whole = slot.bits
            if not -WHOLE_MAX < whole < WHOLE_MAX:
                return BAD
        # |whole| < 10**15 and, as the definition's numbers are bounded below, no overflow.
        result[0] = expression.slope * whole + expression.intercept
        return OK

    # -- one value -----------------------------------------------------------------------------------------------------
    cdef int read_value(self, const FieldC* field, const uint8_t* packet, int64_t size, int64_t* bit, Value* value) noexcept nogil:
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
            return self.read_string(field, packet, size, bit, value)
        if field.size >= 0:
            status = self.evaluate(field.size, &bits)
            if status != OK:
                return status
            if bits < 0:
                return BAD
        if bits > 8 * size or start > 8 * size - bits:
            return SHORT
        bit[0] = start + bits
        if field.coding == BINARY:
            value.size = (bits + 7) >> 3
            value.data = self.aligned(packet, size, start, bits, False)
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

    cdef int read_string(self, const FieldC* field, const uint8_t* packet, int64_t size, int64_t* bit, Value* value) noexcept nogil:
        cdef int64_t start = bit[0]
        cdef int64_t end = 8 * size
        cdef int64_t box = -1
        cdef int64_t length, index
        cdef const uint8_t* text
        cdef int status
        cdef int unit = field.termination_bytes
        if field.size >= 0:
            status = self.evaluate(field.size, &box)
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
        text = self.aligned(packet, size, start, length - (length & 7), True)
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
        if self.scratch_used + 3 * length > SCRATCH_BYTES:
            return BAD
        value.size = to_utf8(field.charset, text, length, self.scratch + self.scratch_used)
        value.data = self.scratch + self.scratch_used
        self.scratch_used += value.size
        value.kind = VALUE_BYTES
        return OK

    # `bits` from `bit` on as whole bytes: in the packet itself if they are, else copied to scratch memory, with the odd bits
    # at the end of the last byte (is_left) or, as a number, zeros before the first.
    cdef const uint8_t* aligned(self, const uint8_t* packet, int64_t size, int64_t bit, int64_t bits, bint is_left) noexcept nogil:
        cdef int64_t count = (bits + 7) >> 3
        cdef int64_t index, first = bit
        cdef int rest = <int> (bits & 7)
        cdef uint8_t* copy
        if (bit & 7) == 0 and rest == 0:
            return packet + (bit >> 3)
        if self.scratch_used + count > SCRATCH_BYTES:
            return NULL
        copy = self.scratch + self.scratch_used
        self.scratch_used += count
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

    # What the raw value means: calibrated, labelled, timed. value.has_value stays false where it means nothing.
    cdef void finish(self, const FieldC* field, Value* value) noexcept nogil:
        cdef int index
        cdef int64_t whole, low, high
        cdef double raw
        if field.making == MAKE_NOTHING or field.making == MAKE_TEXT or value.kind == VALUE_NONE:
            return
        if field.making == MAKE_LABEL:
            if value.kind == VALUE_REAL:
                if isnan(value.real) or value.real != trunc(value.real) or not -9e18 < value.real < 9e18:
                    return
                whole = <int64_t> value.real
            else:
                whole = value.bits
            value.value = <double> whole
            if field.label_table >= 0 and 0 <= whole < (1 << field.width):
                value.label = self.label_table[field.label_table + whole]
                value.has_value = value.label >= 0
                return
            for index in range(field.label, field.label + field.label_count):
                low, high = self.labels[index].low, self.labels[index].high
                if low <= whole <= high:
                    value.label = self.labels[index].index
                    value.has_value = True
                    return
            return
        raw = number_of(value)
        if field.making == MAKE_POLYNOMIAL or field.making == MAKE_CALIBRATED:
            self.calibrate(field, value, raw)
            return
        value.time_ns = NO_TIME
        if field.offset_from >= 0:
            if self.slots[field.offset_from].stamp != self.stamp or not self.slots[field.offset_from].has_value:
                return
            low = self.slots[field.offset_from].time_ns
        else:
            low = field.epoch_ns
        if low == NO_TIME:
            return
        if field.tick_whole and value.kind != VALUE_REAL and field.offset_ns == 0:
            whole = value.bits
            high = INT64_MAX // field.tick_whole
            if (value.kind == VALUE_UNSIGNED and whole < 0) or not -high <= whole <= high:
                return
            whole *= field.tick_whole
        else:
            raw = raw * field.tick_ns + field.offset_ns
            if not -9e18 < raw < 9e18:
                return
            whole = <int64_t> raw
        if field.making == MAKE_SPAN:
            value.value = (raw * field.tick_ns + field.offset_ns) / 1e9 if field.tick_whole and value.kind != VALUE_REAL and field.offset_ns == 0 else raw / 1e9
            value.time_ns = whole
            value.has_value = True
            return
        if (whole > 0 and low > INT64_MAX - whole) or (whole < 0 and low < -INT64_MAX - whole):
            return
        value.time_ns = low + whole if field.offset_from >= 0 else to_utc(low + whole, field.scale)
        value.value = <double> value.time_ns / 1e9
        value.has_value = True

    cdef void calibrate(self, const FieldC* field, Value* value, double raw) noexcept nogil:
        cdef CalibratorC* calibrator
        cdef double* number
        cdef double result, span
        cdef int index, low, high, middle
        for index in range(field.calibrator, field.calibrator + field.calibrator_count):
            calibrator = &self.calibrators[index]
            if calibrator.condition < 0 or self.holds(calibrator.condition):
                break
        else:
            value.value = raw
            value.has_value = True
            return
        if calibrator.kind == CALIBRATOR_MATH:
            value.has_value = compute(&self.math[calibrator.start], calibrator.count, raw, &value.value)
            return
        number = &self.numbers[calibrator.start]
        if calibrator.kind == CALIBRATOR_POLYNOMIAL:
            result = number[calibrator.count - 1]
            for index in range(calibrator.count - 2, -1, -1):
                result = result * raw + number[index]
            value.value = result
            value.has_value = True
            return
        # Spline: pairs of raw and calibrated, rising.
        high = calibrator.count - 1
        if isnan(raw) or ((raw < number[0] or raw > number[2 * high]) and not calibrator.is_extrapolated):
            return
        low = 0
        while high - low > 1:
            middle = (low + high) >> 1
            if number[2 * middle] <= raw:
                low = middle
            else:
                high = middle
        if calibrator.order == 0:
            # Steps: the point at or below; the last one for itself and above.
            value.value = number[2 * high + 1] if raw >= number[2 * high] else number[2 * low + 1]
        else:
            span = (raw - number[2 * low]) / (number[2 * high] - number[2 * low])
            value.value = number[2 * low + 1] + span * (number[2 * high + 1] - number[2 * low + 1])
            if raw == number[2 * high]:
                value.value = number[2 * high + 1]
        value.has_value = True

    cdef int store(self, Tree tree, int cell, const FieldC* field, const Value* value) noexcept nogil:
        cdef Cells* cells = &tree.cells[cell]
        cdef int64_t row = tree.domains[cells.domain].current
        cdef char text[40]
        cdef float single
        if value.kind == VALUE_NONE:
            tree.track()
            return OK
        if cells.raw_bytes == 0:
            if tree.put_raw(cell, value.data, value.size) < 0:
                return OUT_OF_MEMORY
        elif value.kind == VALUE_REAL:
            if cells.raw_bytes == 4:
                single = <float> value.real
                memcpy(cells.raw + 4 * row, &single, 4)
            else:
                memcpy(cells.raw + 8 * row, &value.real, 8)
        elif cells.raw_bytes == 1:
            cells.raw[row] = <uint8_t> value.bits
        elif cells.raw_bytes == 2:
            (<int16_t*> cells.raw)[row] = <int16_t> value.bits
        elif cells.raw_bytes == 4:
            (<int32_t*> cells.raw)[row] = <int32_t> value.bits
        else:
            (<int64_t*> cells.raw)[row] = value.bits
        cells.valid[row] = 1
        if field.making == MAKE_TEXT:
            return tree.put_value(cell, <const uint8_t*> text, write_number(text, value, field.width))
        if cells.value_bytes < 0 or not value.has_value:
            return OK
        if field.making == MAKE_LABEL:
            (<int32_t*> cells.value)[row] = value.label
        elif field.making == MAKE_TIME:
            (<int64_t*> cells.value)[row] = value.time_ns
        else:
            (<double*> cells.value)[row] = value.value
        cells.value_valid[row] = 1
        return OK

    # -- packet by packet ----------------------------------------------------------------------------------------------
    # Runs a program over one packet; `tree` NULL only fills the slots.
    cdef int run(self, const ProgramC* program, void* tree, const uint8_t* packet, int64_t size) noexcept nogil:
        cdef int64_t starts[NESTING_MAX]
        cdef int64_t ends[NESTING_MAX]
        cdef int64_t fixed_ends[NESTING_MAX]
        cdef int64_t left[NESTING_MAX]
        cdef int depth = 0, loops = 0, at = 0, status
        cdef int64_t cursor = 0, saved = 0, number = 0, first, fitting
        # Every read takes a bit at least; what does not read cannot loop more often than that.
        cdef int64_t budget = 64 * size + 8 * <int64_t> program.count + 4096
        cdef const InstructionC* step
        cdef FieldC* field
        cdef Value local
        cdef Value* value
        starts[0], ends[0], fixed_ends[0] = 0, 8 * size, -1
        while at < program.count:
            step = &program.steps[at]
            at += 1
            budget -= 1
            if budget < 0:
                return BAD
            if step.operation == OP_READ or step.operation == OP_LOAD:
                field = &self.fields[step.field]
                value = &self.slots[field.slot] if field.slot >= 0 else &local
                if step.bit >= 0:
                    cursor = step.bit
                status = self.read_value(field, packet, size, &cursor, value)
                if status != OK:
                    if field.slot >= 0:
                        value.stamp = 0
                    return status
                if field.slot >= 0 or (step.cell >= 0 and tree != NULL):
                    self.finish(field, value)
                if field.slot >= 0:
                    value.stamp = self.stamp if value.kind != VALUE_NONE else 0
                if step.cell >= 0 and tree != NULL:
                    if self.store(<Tree> tree, step.cell, field, value) < 0:
                        return OUT_OF_MEMORY
            elif step.operation == OP_RUN:
                field = &self.fields[step.field]
                if step.expression < 0:                      # as many as there is room for before the last `bit` bits
                    number = (ends[depth] - step.bit - cursor) // field.width if ends[depth] - step.bit > cursor else 0
                else:
                    status = self.evaluate(step.expression, &number)
                    if status != OK:
                        return status
                if number < 0:
                    return BAD
                # What fits is kept, also of an array that does not fit.
                fitting = (8 * size - cursor) // field.width if 0 <= cursor < 8 * size else 0
                status = SHORT if number > fitting else OK
                number = min(number, fitting)
                if tree != NULL and step.cell >= 0:
                    first = (<Tree> tree).items(step.domain, number)
                    if first < 0:
                        return OUT_OF_MEMORY
                    if number == 0:
                        pass                                 # an empty list: there may be no memory yet to write to
                    elif field.is_plain and (cursor & 7) == 0:
                        framecodec_run(
                            (<Tree> tree).cells[step.cell].raw + first * (field.width >> 3), field.width >> 3, packet + (cursor >> 3), number)
                        if (<Tree> tree).tracks_valid:
                            memset((<Tree> tree).cells[step.cell].valid + first, 1, number)
                        cursor += number * field.width
                        number = 0
                    elif field.is_plain:
                        (<Tree> tree).track()                # its items were not cleared: now they say what is there
                    while number:
                        (<Tree> tree).domains[step.domain].current = first
                        if self.read_value(field, packet, size, &cursor, &local) != OK:
                            return BAD
                        self.finish(field, &local)
                        if self.store(<Tree> tree, step.cell, field, &local) < 0:
                            return OUT_OF_MEMORY
                        first += 1
                        number -= 1
                else:
                    cursor += number * field.width
                if status != OK:
                    return status
            elif step.operation == OP_ITEM:
                if tree != NULL and (<Tree> tree).item(step.domain) < 0:
                    return OUT_OF_MEMORY
            elif step.operation == OP_SEEK:
                cursor = step.bit
            elif step.operation == OP_IF:
                if not self.holds(step.field):
                    at = step.jump
            elif step.operation == OP_LOOP:
                status = self.evaluate(step.expression, &number)
                if status != OK:
                    return status
                if number < 0 or number > 8 * size:
                    return BAD if number < 0 else SHORT
                if number == 0:
                    at = step.jump
                else:
                    left[loops] = number
                    loops += 1
            elif step.operation == OP_NEXT:
                left[loops - 1] -= 1
                if left[loops - 1] == 0:
                    loops -= 1
                else:
                    status = self.evaluate(step.expression, &number)
                    if status != OK:
                        return status
                    cursor += number
                    at = step.jump
            elif step.operation == OP_ENTER:
                depth += 1
                starts[depth], ends[depth], fixed_ends[depth] = cursor, ends[depth - 1], -1
                if step.expression >= 0:
                    status = self.evaluate(step.expression, &number)
                    if status != OK:
                        return status
                    if number < 0:
                        return BAD
                    ends[depth] = fixed_ends[depth] = cursor + number
            elif step.operation == OP_LEAVE:
                if fixed_ends[depth] >= 0:
                    cursor = fixed_ends[depth]
                depth -= 1
            elif step.operation == OP_SAVE:
                saved = cursor
            elif step.operation == OP_RESTORE:
                cursor = saved
            else:
                status = self.evaluate(step.expression, &number)
                if status != OK:
                    return status
                if not -8 * (size + 1) <= number <= 8 * (size + 1):
                    return SHORT
                if step.operation == OP_MOVE_TO:
                    cursor = starts[depth] + number
                elif step.operation == OP_MOVE_BY:
                    cursor += number
                else:
                    cursor = ends[depth] - number
        return OK

    # -- column by column ----------------------------------------------------------------------------------------------
    cdef void run_fixed(self, const LayoutC* layout, const uint8_t** packets, int64_t count, int64_t row) noexcept nogil:
        cdef int number
        cdef int64_t stride = framecodec_stride(packets, count)
        for number in range(layout.fixed_count):
            if layout.fixed[number].cell >= 0:
                self.run_column(<Tree> layout.tree, &layout.fixed[number], layout.fixed_bytes, packets, stride, count, row)

    cdef void run_column(
        self, Tree tree, const FixedC* fixed, int64_t fixed_bytes, const uint8_t** packets, int64_t stride, int64_t count, int64_t row,
    ) noexcept nogil:
        cdef Cells* cells = &tree.cells[fixed.cell]
        cdef FieldC* field = &self.fields[fixed.field]
        cdef Value value
        cdef int64_t index, bit
        if tree.tracks_valid:
            memset(cells.valid + row, 1, count)
        if fixed.window < 0:
            for index in range(count):
                bit = fixed.bit
                tree.domains[0].current = row + index
                if self.read_value(field, packets[index], fixed_bytes, &bit, &value) != OK or value.kind == VALUE_NONE:
                    tree.track()
                    cells.valid[row + index] = 0
                    continue
                self.finish(field, &value)
                self.store(tree, fixed.cell, field, &value)
            return
        framecodec_fill(
            cells.raw + row * cells.raw_bytes, cells.raw_bytes, packets, stride, count, fixed.window, fixed.lead, fixed.width, fixed.is_signed)
        if cells.value_bytes >= 0:
            self.make_column(tree, cells, field, row, count)

    cdef void make_column(self, Tree tree, Cells* cells, const FieldC* field, int64_t row, int64_t count) noexcept nogil:
        cdef double* out = <double*> cells.value
        cdef Value value
        cdef int64_t index
        if field.making == MAKE_POLYNOMIAL:
            framecodec_horner(
                out + row, cells.raw + row * cells.raw_bytes, cells.raw_bytes, field.is_unsigned, field.coding >= IEEE754, count,
                &self.numbers[self.calibrators[field.calibrator].start], self.calibrators[field.calibrator].count,
            )
            if tree.tracks_valid or not cells.is_total:
                memset(cells.value_valid + row, 1, count)
            return
        for index in range(row, row + count):
            load_cell(cells, field, index, &value)
            self.finish(field, &value)
            if not value.has_value:
                continue
            cells.value_valid[index] = 1
            if field.making == MAKE_LABEL:
                (<int32_t*> cells.value)[index] = value.label
            elif field.making == MAKE_TIME:
                (<int64_t*> cells.value)[index] = value.time_ns
            else:
                out[index] = value.value

    cdef int decode_packets(
        self, const uint8_t** packets, const int32_t* sizes, int64_t count, int32_t* containers, int64_t* rows, uint8_t* shorts, const int64_t* numbers_of,
    ) noexcept nogil:
        cdef const uint8_t* block[BLOCK_PACKETS]
        cdef int64_t numbers[BLOCK_PACKETS]
        cdef int64_t index, first, row, fill, begin
        cdef int64_t* order = NULL
        cdef int64_t* begins = NULL
        cdef int32_t container
        cdef LayoutC* layout
        cdef int status
        cdef bint has_short
        cdef uint8_t* zeros = NULL
        cdef int64_t zeros_bytes = 0
        if count == 0:
            return OK
        order = <int64_t*> malloc((count + 1) * sizeof(int64_t))
        begins = <int64_t*> calloc(self.container_count + 2, sizeof(int64_t))
        if order == NULL or begins == NULL:
            free(order)
            free(begins)
            return OUT_OF_MEMORY
        for index in range(count):
            container = self.classify(packets[index], sizes[index])
            containers[index] = container
            shorts[index] = 0
            rows[index] = -1
            if container >= 0:
                begins[container + 1] += 1
        container = containers[0]
        if container >= 0 and begins[container + 1] == count and self.layouts[container].tail.count == 0:
            status = self.decode_alike(container, packets, sizes, count, rows, numbers_of)
            if status != SHORT:
                free(order)
                free(begins)
                return status
        for container in range(self.container_count):
            if self.layouts[container].fixed_bytes > zeros_bytes:
                zeros_bytes = self.layouts[container].fixed_bytes
            begins[container + 1] += begins[container]
        zeros = <uint8_t*> calloc(zeros_bytes + 8, 1)
        if zeros == NULL:
            free(order)
            free(begins)
            return OUT_OF_MEMORY
        for index in range(count):                   # a counting sort that keeps the order of the packets
            container = containers[index]
            if container >= 0:
                order[begins[container]] = index
                begins[container] += 1
        status = OK
        begin = 0
        for container in range(self.container_count):
            layout = &self.layouts[container]
            (<Tree> layout.tree).domains[0].expected = self.slices * (begins[container] - begin)
            first = (<Tree> layout.tree).add(0, begins[container] - begin)
            if first < 0:
                status = OUT_OF_MEMORY
                break
            row = first
            while begin < begins[container]:
                fill = 0
                has_short = False
                while fill < BLOCK_PACKETS and begin + fill < begins[container]:
                    index = order[begin + fill]
                    numbers[fill] = index
                    rows[index] = row + fill
                    (<Tree> layout.tree).packets[row + fill] = numbers_of[index]
                    # A packet too short for the columns lends zeros to them; what it does hold comes below.
                    shorts[index] = sizes[index] < layout.fixed_bytes
                    has_short |= shorts[index]
                    block[fill] = zeros if shorts[index] else packets[index]
                    fill += 1
                self.run_fixed(layout, block, fill, row)
                status = OK
                if layout.tail.count or has_short:
                    status = self.run_tails(container, packets, sizes, shorts, numbers, fill, row)
                if status < 0:
                    break
                begin += fill
                row += fill
            if status < 0:
                break
        free(order)
        free(begins)
        free(zeros)
        return status

    # The usual case: packets of one container where everything is at a constant place. SHORT, and nothing done, if one is too short.
    cdef int decode_alike(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, int64_t count, int64_t* rows, const int64_t* numbers_of,
    ) noexcept nogil:
        cdef LayoutC* layout = &self.layouts[container]
        cdef int64_t index, first, least = sizes[0]
        for index in range(1, count):
            least = min(least, sizes[index])
        if least < layout.fixed_bytes:
            return SHORT
        (<Tree> layout.tree).domains[0].expected = self.slices * count
        first = (<Tree> layout.tree).add(0, count)
        if first < 0:
            return OUT_OF_MEMORY
        memcpy((<Tree> layout.tree).packets + first, numbers_of, count * sizeof(int64_t))
        for index in range(count):
            rows[index] = first + index
        index = 0
        while index < count:
            self.run_fixed(layout, packets + index, min(BLOCK_PACKETS, count - index), first + index)
            index += BLOCK_PACKETS
        return OK

    # What is not at a constant place, for one block; `numbers` are its packets, `row` is that of the first.
    cdef int run_tails(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, uint8_t* shorts, const int64_t* numbers, int64_t count, int64_t row,
    ) noexcept nogil:
        cdef LayoutC* layout = &self.layouts[container]
        cdef int64_t index, number
        cdef int status, cell
        cdef void* tree = layout.tree
        for index in range(count):
            number = numbers[index]
            if not shorts[number] and layout.tail.count == 0:
                continue
            self.stamp += 1
            self.scratch_used = 0
            (<Tree> tree).domains[0].current = row + index
            if shorts[number]:
                (<Tree> tree).track()
                for cell in range((<Tree> tree).cell_count):
                    if (<Tree> tree).cells[cell].domain == 0:
                        (<Tree> tree).cells[cell].valid[row + index] = 0
                        if (<Tree> tree).cells[cell].value_bytes >= 0:
                            (<Tree> tree).cells[cell].value_valid[row + index] = 0
                status = self.run(&layout.full, tree, packets[number], sizes[number])
            else:
                status = self.run(&layout.tail, tree, packets[number], sizes[number])
                if status > OK:
                    shorts[number] = 1
                    (<Tree> tree).track()
            if status < 0:
                return status
        return OK

    cdef int64_t time_of(self, int32_t container, int64_t row, const uint8_t* packet, int64_t size) noexcept nogil:
        cdef LayoutC* layout
        if container < 0:
            return NO_TIME
        layout = &self.layouts[container]
        if layout.time_cell >= 0:
            if (<Tree> layout.tree).cells[layout.time_cell].value_valid[row]:
                return (<int64_t*> (<Tree> layout.tree).cells[layout.time_cell].value)[row]
            return NO_TIME
        return read_code(&layout.code, packet, size) if layout.has_code else NO_TIME
