# A compiled definition, running. See plan.pyx.
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from framecodec.layouts cimport (
    CalibratorC, ExpressionC, FieldC, FixedC, LabelC, LayoutC, LookupC, MathC, NodeC, ProgramC, TestC, Value,
)
from framecodec.trees cimport Cells, Tree


# What a packet is that begins with these 16 bits, -1 none.
cdef struct Remembered:
    int32_t begins
    int32_t container


@cython.final
cdef class Plan:
    cdef readonly object definition
    cdef readonly list trees             # of each container
    cdef list outputs                    # the TreeLayout of each
    cdef list texts
    cdef FieldC* fields
    cdef int field_count
    cdef LabelC* labels
    cdef int32_t* label_table
    cdef CalibratorC* calibrators
    cdef double* numbers
    cdef MathC* math
    cdef TestC* tests
    cdef int* condition_start            # condition n is tests [start[n], start[n + 1])
    cdef int64_t* ranges
    cdef ExpressionC* expressions
    cdef LookupC* lookups
    cdef LayoutC* layouts
    cdef readonly int container_count
    cdef bint has_times                  # some container says what its packets' time is
    cdef ProgramC* deciding              # of each layout: its full program without output, to decide among heirs
    cdef int layout_count
    cdef NodeC* nodes
    cdef int node_count
    cdef Value* slots
    cdef int slot_count
    cdef uint64_t stamp
    cdef int64_t slices                  # decode_packets() is given the first of about as many lots like it: so much room is made
    cdef Remembered* memory              # by APID
    cdef int64_t consulted_bits
    cdef uint8_t* scratch
    cdef int64_t scratch_used

    # Decodes `count` packets, which have the numbers `numbers_of`: the container of each (or NO_CONTAINER), its row there, and 1 where it was
    # too short. 0 or -1.
    cdef int decode_packets(
        self, const uint8_t** packets, const int32_t* sizes, int64_t count, int32_t* containers, int64_t* rows, uint8_t* shorts, const int64_t* numbers_of,
    ) noexcept nogil
    # Forgets what was decoded.
    cdef void clear(self) noexcept nogil
    # The packet's own time, UTC ns or NO_TIME, after decode_packets.
    cdef int64_t time_of(self, int32_t container, int64_t row, const uint8_t* packet, int64_t size) noexcept nogil
    cdef int32_t classify(self, const uint8_t* packet, int64_t size) noexcept nogil
    cdef int32_t descend(self, int node, const uint8_t* packet, int64_t size) noexcept nogil
    cdef bint holds(self, int condition) noexcept nogil
    cdef bint compare(self, const TestC* test) noexcept nogil
    cdef int evaluate(self, int expression, int64_t* result) noexcept nogil
    cdef int read_value(self, const FieldC* field, const uint8_t* packet, int64_t size, int64_t* bit, Value* value) noexcept nogil
    cdef int read_string(self, const FieldC* field, const uint8_t* packet, int64_t size, int64_t* bit, Value* value) noexcept nogil
    cdef const uint8_t* aligned(self, const uint8_t* packet, int64_t size, int64_t bit, int64_t bits, bint is_left) noexcept nogil
    cdef void finish(self, const FieldC* field, Value* value) noexcept nogil
    cdef void calibrate(self, const FieldC* field, Value* value, double raw) noexcept nogil
    cdef int store(self, Tree tree, int cell, const FieldC* field, const Value* value) noexcept nogil
    cdef int run(self, const ProgramC* program, void* tree, const uint8_t* packet, int64_t size) noexcept nogil
    cdef void run_fixed(self, const LayoutC* layout, const uint8_t** packets, int64_t count, int64_t row) noexcept nogil
    cdef int decode_alike(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, int64_t count, int64_t* rows, const int64_t* numbers_of,
    ) noexcept nogil
    cdef int run_tails(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, uint8_t* shorts, const int64_t* numbers, int64_t count, int64_t row,
    ) noexcept nogil
    cdef void run_column(
        self, Tree tree, const FixedC* fixed, int64_t fixed_bytes, const uint8_t** packets, int64_t stride, int64_t count, int64_t row,
    ) noexcept nogil
    cdef void make_column(self, Tree tree, Cells* cells, const FieldC* field, int64_t row, int64_t count) noexcept nogil
