# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Decoded numbers: comparing them exactly, printing them, and the math operation calibrators of XTCE.

The names of operators are those of the definition (XTCE 1.2, MathOperatorsType and ComparisonOperatorsType); their numbers are
the places in MATH and COMPARISONS.
"""
from libc.math cimport (
    NAN, acos, acosh, asin, asinh, atan, atan2, atanh, cos, cosh, exp, fabs, fmod, isnan, log, log10, pow, sin, sinh, tan, tanh,
    tgamma, trunc,
)
from libc.stdint cimport int64_t, uint8_t
from libc.stdio cimport snprintf
from libc.stdlib cimport strtod
from libc.string cimport memcmp

from framecodec.layouts cimport (
    M_NUMBER, M_OTHER, M_THIS, M_ADD, M_SUBTRACT, M_MULTIPLY, M_DIVIDE, M_MODULO, M_POWER, M_POWER_2, M_LN, M_LOG, M_EXP,
    M_INVERSE, M_FACTORIAL, M_TAN, M_COS, M_SIN, M_ATAN, M_ATAN2, M_ACOS, M_ASIN, M_TANH, M_COSH, M_SINH, M_ATANH,
    M_ACOSH, M_ASINH, M_ABS, M_DIV, M_INT, M_SWAP, M_DROP, M_DUP, M_OVER, M_MIN, M_MAX, M_EQUAL, M_UNEQUAL, M_LESS,
    M_MORE, M_AT_MOST, M_AT_LEAST, M_AND, M_OR, M_NOT, M_BIT_AND, M_BIT_OR, M_BIT_XOR, M_LEFT, M_RIGHT,
    VALUE_REAL, VALUE_SIGNED, VALUE_UNSIGNED, Machine, MathC, Value,
)

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
MATH = (
    "number", "this", "other", "+", "-", "*", "/", "%", "^", "y^x", "ln", "log", "e^x", "1/x", "x!", "tan", "cos", "sin",
    "atan", "atan2", "acos", "asin", "tanh", "cosh", "sinh", "atanh", "acosh", "asinh", "abs", "div", "int",
    "swap", "drop", "dup", "over", "min", "max", "==", "!=", "<", ">", "<=", ">=", "&&", "||", "!",
    "&", "|", "xor", "<<", ">>", "~",
)

cdef enum:
    STACK_MAX = 40           # streams.definitions.calibrators.STACK_MAX and what `over` adds


cdef bint ordered(int operator, int order) noexcept nogil:
    if operator == 0:
        return order == 0
    if operator == 1:
        return order != 0
    if operator == 2:
        return order < 0
    if operator == 3:
        return order <= 0
    return order > 0 if operator == 4 else order >= 0


cdef int compare_bytes(const uint8_t* left, int64_t left_size, const uint8_t* right, int64_t right_size) noexcept nogil:
    cdef int order = memcmp(left, right, min(left_size, right_size)) if min(left_size, right_size) else 0
    if order == 0:
        order = (left_size > right_size) - (left_size < right_size)
    return order


cdef bint compare_numbers(
    const Value* left, bint left_is_calibrated, const Value* right, bint right_is_calibrated, int operator,
) noexcept nogil:
    cdef double a, b
    cdef int order
    cdef bint left_is_big, right_is_big
    left_is_calibrated = left_is_calibrated and left.has_value
    right_is_calibrated = right_is_calibrated and right.has_value
    if left_is_calibrated or right_is_calibrated or left.kind == VALUE_REAL or right.kind == VALUE_REAL:
        a = left.value if left_is_calibrated else number_of(left)
        b = right.value if right_is_calibrated else number_of(right)
        if isnan(a) or isnan(b):
            return operator == 1
        return ordered(operator, (a > b) - (a < b))
    left_is_big = left.kind == VALUE_UNSIGNED and left.bits < 0
    right_is_big = right.kind == VALUE_UNSIGNED and right.bits < 0
    if left_is_big != right_is_big:
        return ordered(operator, 1 if left_is_big else -1)
    order = (left.bits > right.bits) - (left.bits < right.bits)
    return ordered(operator, order)


cdef int64_t write_number(char* text, const Value* value, int width) noexcept nogil:
    cdef int digits, size = 0
    if value.kind == VALUE_UNSIGNED:
        return snprintf(text, 40, "%llu", <unsigned long long> value.bits)
    if value.kind == VALUE_SIGNED:
        return snprintf(text, 40, "%lld", <long long> value.bits)
    for digits in range(6, 18):
        size = snprintf(text, 40, "%.*g", digits, value.real)
        if strtod(text, NULL) == value.real or (width == 32 and <float> strtod(text, NULL) == <float> value.real):
            break
    return size


cdef bint compute(const Machine* machine, const MathC* program, int count, double raw, double* result) noexcept nogil:
    cdef const Value* other
    cdef double stack[STACK_MAX]
    cdef int depth = 0
    cdef int index, operator
    cdef double a = 0, b = 0
    for index in range(count):
        operator = program[index].operator
        if operator == M_NUMBER or operator == M_THIS:
            stack[depth] = program[index].value if operator == M_NUMBER else raw
            depth += 1
            continue
        if operator == M_OTHER:
            other = &machine.slots[program[index].slot]
            if other.stamp != machine.stamp or (program[index].is_calibrated and not other.has_value):
                return False
            stack[depth] = other.value if program[index].is_calibrated else number_of(other)
            depth += 1
            continue
        b = stack[depth - 1]
        if is_binary(operator):
            depth -= 1
            a = stack[depth - 1]
            stack[depth - 1] = binary(operator, a, b)
        elif operator == M_SWAP:
            stack[depth - 1], stack[depth - 2] = stack[depth - 2], b
        elif operator == M_DROP:
            depth -= 1
        elif operator == M_DUP:
            stack[depth] = b
            depth += 1
        elif operator == M_OVER:
            stack[depth] = stack[depth - 2]
            depth += 1
        else:
            stack[depth - 1] = unary(operator, b)
    result[0] = stack[depth - 1]
    return not isnan(result[0])


cdef inline bint is_binary(int operator) noexcept nogil:
    return (
        M_ADD <= operator <= M_POWER_2 or operator == M_ATAN2 or operator == M_DIV or M_MIN <= operator <= M_OR
        or M_BIT_AND <= operator <= M_RIGHT
    )


cdef double binary(int operator, double a, double b) noexcept nogil:
    if operator == M_ADD:
        return a + b
    if operator == M_SUBTRACT:
        return a - b
    if operator == M_MULTIPLY:
        return a * b
    if operator == M_DIVIDE:
        return a / b
    if operator == M_MODULO:
        return fmod(a, b)
    if operator == M_POWER or operator == M_POWER_2:
        return pow(a, b)
    if operator == M_ATAN2:
        return atan2(a, b)
    if operator == M_DIV:
        return trunc(a / b)
    if operator == M_MIN:
        return a if a < b else b
    if operator == M_MAX:
        return a if a > b else b
    if operator == M_EQUAL:
        return a == b
    if operator == M_UNEQUAL:
        return a != b
    if operator == M_LESS:
        return a < b
    if operator == M_MORE:
        return a > b
    if operator == M_AT_MOST:
        return a <= b
    if operator == M_AT_LEAST:
        return a >= b
    if operator == M_AND:
        return a != 0 and b != 0
    if operator == M_OR:
        return a != 0 or b != 0
    if not -9e15 < a < 9e15 or not -9e15 < b < 9e15:
        return NAN
    if operator == M_BIT_AND:
        return <double> (<int64_t> a & <int64_t> b)
    if operator == M_BIT_OR:
        return <double> (<int64_t> a | <int64_t> b)
    if operator == M_BIT_XOR:
        return <double> (<int64_t> a ^ <int64_t> b)
    if not 0 <= b < 64:
        return NAN
    if operator == M_LEFT:
        return a * pow(2.0, trunc(b))
    return <double> (<int64_t> a >> <int> b)


cdef double unary(int operator, double a) noexcept nogil:
    if operator == M_LN:
        return log(a)
    if operator == M_LOG:
        return log10(a)
    if operator == M_EXP:
        return exp(a)
    if operator == M_INVERSE:
        return 1 / a
    if operator == M_FACTORIAL:
        return tgamma(a + 1)
    if operator == M_TAN:
        return tan(a)
    if operator == M_COS:
        return cos(a)
    if operator == M_SIN:
        return sin(a)
    if operator == M_ATAN:
        return atan(a)
    if operator == M_ACOS:
        return acos(a)
    if operator == M_ASIN:
        return asin(a)
    if operator == M_TANH:
        return tanh(a)
    if operator == M_COSH:
        return cosh(a)
    if operator == M_SINH:
        return sinh(a)
    if operator == M_ATANH:
        return atanh(a)
    if operator == M_ACOSH:
        return acosh(a)
    if operator == M_ASINH:
        return asinh(a)
    if operator == M_ABS:
        return fabs(a)
    if operator == M_INT:
        return trunc(a)
    if operator == M_NOT:
        return a == 0
    return <double> (~<int64_t> a) if -9e15 < a < 9e15 else NAN
