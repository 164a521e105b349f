# Conditions and expressions of a definition on the packet at hand. See conditions.pyx.
from libc.stdint cimport int64_t

from framecodec.layouts cimport OK, VALUE_UNSIGNED, ExpressionC, Machine, Value

# Whether condition number `condition` holds; -1 always does.
cdef bint holds(Machine* machine, int condition) noexcept nogil
cdef int evaluate_any(Machine* machine, int number, int64_t* result) noexcept nogil


# The whole number that expression number `number` comes to: OK, or BAD where it depends on what the packet does not have.
# Mostly a small count that stands in the packet, times something.
cdef inline int evaluate(Machine* machine, int number, int64_t* result) noexcept nogil:
    cdef ExpressionC* expression = &machine.expressions[number]
    cdef Value* slot
    if expression.slot >= 0 and expression.lookup_count == 0:
        slot = &machine.slots[expression.slot]
        if slot.stamp == machine.stamp and slot.kind == VALUE_UNSIGNED and not slot.has_value and 0 <= slot.bits < 0x10000:
            result[0] = expression.slope * slot.bits + expression.intercept
            return OK
    return evaluate_any(machine, number, result)
