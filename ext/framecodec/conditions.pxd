# Conditions and expressions of a definition on the packet at hand. See conditions.pyx.
from libc.stdint cimport int64_t

from framecodec.layouts cimport Machine

# Whether condition number `condition` holds; -1 always does.
cdef bint holds(Machine* machine, int condition) noexcept nogil
# The whole number that expression number `number` comes to: OK, or BAD where it depends on what the packet does not have.
cdef int evaluate(Machine* machine, int number, int64_t* result) noexcept nogil
