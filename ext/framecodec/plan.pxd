# A compiled definition, running. See plan.pyx.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from framecodec.timecodes cimport Code, Scale
from framecodec.trees cimport Cells, Tree

cdef enum:
    NO_CONTAINER = -1

cdef enum ValueKind:
    VALUE_NONE
    VALUE_SIGNED         # bits is an int64
    VALUE_UNSIGNED       # bits is a uint64
    VALUE_REAL           # real
    VALUE_BYTES          # data and size; bits too where a number is made of them

# What is made of the raw value.
cdef enum Making:
    MAKE_NOTHING
    MAKE_POLYNOMIAL      # one polynomial, whatever the context
    MAKE_CALIBRATED      # calibrators with contexts, splines, math
    MAKE_LABEL
    MAKE_TIME            # UTC ns
    MAKE_SPAN            # relative time, seconds
    MAKE_TEXT            # a number as text

cdef struct Value:
    uint64_t stamp       # the packet that it is of
    ValueKind kind
    int64_t bits
    double real
    const uint8_t* data  # in the packet or in the plan's scratch memory
    int64_t size
    bint has_value       # calibrated, labelled, timed
    double value
    int64_t time_ns
    int32_t label        # index into the field's labels

cdef struct FieldC:
    int coding
    int width            # bits; of binary and strings without a fixed size -1
    int size             # expression, -1 where width says it
    bint is_little_endian
    bint is_bit_reversed
    int order_count
    uint8_t order[8]
    bint is_unsigned
    int raw_bytes
    int slot
    Making making
    int calibrator
    int calibrator_count
    int label
    int label_count
    int label_table      # index of the label of raw value 0 in Plan.label_table, -1: none; for up to 12 bits
    double tick_ns
    int64_t tick_whole   # the same as a whole number, or 0
    double offset_ns
    int64_t epoch_ns
    Scale scale
    int offset_from
    int charset
    int leading_bits
    int termination_bytes
    uint8_t termination[4]

cdef struct LabelC:
    int64_t low
    int64_t high
    int32_t index

cdef struct CalibratorC:
    int kind
    int condition        # -1: always
    int start            # into numbers or math
    int count
    int order
    bint is_extrapolated

cdef struct MathC:
    int operator
    double value

cdef struct TestC:
    int kind
    int slot
    bint is_calibrated
    int operator
    int mode
    int64_t whole
    bint is_unsigned
    double real
    const uint8_t* data  # owned by Plan.texts
    int64_t size
    int range_start
    int range_count
    int other
    bint other_is_calibrated
    int count

cdef struct ExpressionC:
    int64_t intercept
    int64_t slope
    int slot
    bint is_calibrated
    int lookup
    int lookup_count

cdef struct LookupC:
    int condition
    int64_t value

cdef struct InstructionC:
    int operation
    int field            # or expression, condition, domain
    int cell             # -1: not asked for
    int domain
    int expression
    int jump
    int64_t bit

cdef struct ProgramC:
    InstructionC* steps  # owned
    int count

cdef struct FixedC:
    int cell
    int field
    int64_t bit
    int64_t window       # the eight bytes that hold it, from the start of the packet; -1: read it the slow way
    int lead             # bits of the window before it
    int width
    bint is_signed

cdef struct LayoutC:
    void* tree           # borrowed from Plan.trees
    FixedC* fixed        # owned
    int fixed_count
    int64_t fixed_bytes
    ProgramC tail
    ProgramC full
    int time_cell
    bint has_code
    Code code

cdef struct LoadC:
    int slot
    int field
    int64_t bit

cdef struct NodeC:
    int container
    int layout
    int condition
    int* children        # owned
    int child_count
    LoadC* loads         # owned
    int load_count


cdef class Plan:
    cdef readonly object definition
    cdef readonly list trees             # of each container
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
    cdef ProgramC* deciding              # of each layout: its full program without output, to decide among heirs
    cdef int layout_count
    cdef NodeC* nodes
    cdef int node_count
    cdef Value* slots
    cdef int slot_count
    cdef uint64_t stamp
    cdef int32_t* memory                 # container + 2 by the first 16 bits of a packet, 0 unknown
    cdef int64_t consulted_bits
    cdef uint8_t* scratch
    cdef int64_t scratch_used

    # Decodes `count` packets: the container of each (or NO_CONTAINER), its row there, and 1 where it was too short. 0 or -1.
    cdef int decode_packets(
        self, const uint8_t** packets, const int32_t* sizes, int64_t count, int32_t* containers, int64_t* rows, uint8_t* shorts,
    ) noexcept nogil
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
    cdef int run_tails(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, uint8_t* shorts, const int64_t* numbers, int64_t count, int64_t row,
    ) noexcept nogil
    cdef void run_column(
        self, Tree tree, const FixedC* fixed, int64_t fixed_bytes, const uint8_t** packets, int64_t count, int64_t row,
    ) noexcept nogil
    cdef void make_column(self, Tree tree, Cells* cells, const FieldC* field, int64_t row, int64_t count) noexcept nogil
