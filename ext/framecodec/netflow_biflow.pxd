# The other direction of a biflow, RFC 5103. See netflow_biflow.pyx.
from libc.stdint cimport int64_t

from framecodec.columns cimport Rows

# Row + 1 becomes the row's other direction: the ends swapped; what belongs to one direction is left to reverse elements.
cdef void copy_reversed(Rows flows, int64_t row) noexcept nogil

# Whether packets went in this direction, too: a biflow of which the other direction had none is one flow.
cdef bint is_reverse_seen(Rows flows, int64_t row) noexcept nogil
