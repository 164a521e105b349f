# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Conditions and expressions of a definition (streams.definitions.conditions), on the values of the packet at hand.

A comparison with a parameter that the packet does not have is false, whatever its operator.
"""
from libc.stdint cimport int64_t

from framecodec.layouts cimport (
    BAD, MODE_BYTES, MODE_RANGES, MODE_REAL, MODE_SLOT, OK, TEST_AND, TEST_COMPARE, VALUE_BYTES, VALUE_REAL, VALUE_SIGNED,
    VALUE_UNSIGNED, ExpressionC, Machine, TestC, Value,
)
from framecodec.values cimport compare_bytes, compare_numbers, is_whole, ordered

cdef extern from *:
    """
    /* What an expression may start from: its slope is bounded (framecodec.planning), so that the product stays inside int64. */
    #define FRAMECODEC_WHOLE_MAX INT64_C(1000000000000000)
    """
    const int64_t WHOLE_MAX "FRAMECODEC_WHOLE_MAX"


cdef bint holds(Machine* machine, int condition) noexcept nogil:
    cdef bint stack[256]
    cdef int depth = 0
    cdef int index
    cdef bint result
    cdef TestC* test
    if condition < 0:
        return True
    for index in range(machine.condition_start[condition], machine.condition_start[condition + 1]):
        test = &machine.tests[index]
        if test.kind == TEST_COMPARE:
            result = compare(machine, test)
        else:
            result = test.kind == TEST_AND
            for _ in range(test.count):
                depth -= 1
                result = (result and stack[depth]) if test.kind == TEST_AND else (result or stack[depth])
        stack[depth] = result
        depth += 1
    return depth == 0 or stack[depth - 1]


cdef bint compare(Machine* machine, const TestC* test) noexcept nogil:
    cdef Value* slot = &machine.slots[test.slot]
    cdef Value* other
    cdef int index, order
    cdef int64_t whole
    cdef bint inside = False
    cdef Value constant
    if slot.stamp != machine.stamp:
        return False
    if test.mode == MODE_RANGES:
        if is_whole(slot, &whole):
            for index in range(test.range_start, test.range_start + test.range_count):
                inside = inside or machine.ranges[2 * index] <= whole <= machine.ranges[2 * index + 1]
        return inside == (test.operator == 0)
    if test.mode == MODE_BYTES:
        if slot.kind != VALUE_BYTES:
            return False
        order = compare_bytes(slot.data, slot.size, test.data, test.size)
        return ordered(test.operator, order)
    if test.mode == MODE_SLOT:
        other = &machine.slots[test.other]
        if other.stamp != machine.stamp:
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


cdef int evaluate_any(Machine* machine, int number, int64_t* result) noexcept nogil:
    cdef ExpressionC* expression = &machine.expressions[number]
    cdef Value* slot
    cdef int index
    cdef double real
    cdef int64_t whole
    if expression.lookup_count:
        for index in range(expression.lookup, expression.lookup + expression.lookup_count):
            if holds(machine, machine.lookups[index].condition):
                result[0] = machine.lookups[index].value
                return OK
        return BAD
    result[0] = expression.intercept
    if expression.slot < 0:
        return OK
    slot = &machine.slots[expression.slot]
    if slot.stamp != machine.stamp:
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
