# The C structs of a compiled definition: streams.definitions.model without Python. Plan owns what they point to.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from framecodec.timecodes cimport Code, Scale

cdef enum Operation:
    OP_READ
    OP_LOAD
    OP_RUN
    OP_ITEM
    OP_SEEK
    OP_MOVE_TO
    OP_MOVE_BY
    OP_MOVE_FROM_END
    OP_IF
    OP_LOOP
    OP_NEXT
    OP_ENTER
    OP_LEAVE
    OP_SAVE
    OP_RESTORE

cdef enum TestKind:
    TEST_COMPARE
    TEST_AND
    TEST_OR

cdef enum TestMode:
    MODE_WHOLE
    MODE_REAL
    MODE_BYTES
    MODE_RANGES
    MODE_SLOT

cdef enum CalibratorKind:
    CALIBRATOR_POLYNOMIAL
    CALIBRATOR_SPLINE
    CALIBRATOR_MATH

cdef enum MathOperator:
    M_NUMBER, M_THIS, M_OTHER, M_ADD, M_SUBTRACT, M_MULTIPLY, M_DIVIDE, M_MODULO, M_POWER, M_POWER_2, M_LN, M_LOG, M_EXP,
    M_INVERSE, M_FACTORIAL, M_TAN, M_COS, M_SIN, M_ATAN, M_ATAN2, M_ACOS, M_ASIN, M_TANH, M_COSH, M_SINH, M_ATANH, M_ACOSH,
    M_ASINH, M_ABS, M_DIV, M_INT, M_SWAP, M_DROP, M_DUP, M_OVER, M_MIN, M_MAX, M_EQUAL, M_UNEQUAL, M_LESS, M_MORE, M_AT_MOST,
    M_AT_LEAST, M_AND, M_OR, M_NOT, M_BIT_AND, M_BIT_OR, M_BIT_XOR, M_LEFT, M_RIGHT, M_BIT_NOT

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
    bint is_plain        # whole bytes, most significant first, 8, 16, 32 or 64 bits, and nothing made of them
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
    double value         # M_NUMBER
    int slot             # M_OTHER
    bint is_calibrated

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

# What running a program or reading a value comes to.
cdef enum Outcome:
    OK = 0
    SHORT = 1                # the packet ends before the value
    BAD = 2                  # a size, count or place that cannot be
    OUT_OF_MEMORY = -1

cdef enum:
    # Converted strings and shifted binaries of one packet; a packet has 64 KiB, a converted string thrice its size at most.
    SCRATCH_BYTES = 1048576

# The tables of a plan, which owns them, and the values of the packet at hand that others depend on.
cdef struct Machine:
    FieldC* fields
    LabelC* labels
    int32_t* label_table
    CalibratorC* calibrators
    double* numbers
    MathC* math
    TestC* tests
    int* condition_start     # condition n is tests [start[n], start[n + 1])
    int64_t* ranges
    ExpressionC* expressions
    LookupC* lookups
    Value* slots
    uint64_t stamp           # of the packet at hand; a slot with another one holds nothing of it
    uint8_t* scratch
    int64_t scratch_used


# The packet at hand is another one.
cdef inline void next_packet(Machine* machine) noexcept nogil:
    machine.stamp += 1
    machine.scratch_used = 0
