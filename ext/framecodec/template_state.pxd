# The state of Domains as octets. See template_state.pyx.
from libc.stdint cimport int64_t, uint8_t

from framecodec.templates cimport Domains

# Each domain, the least recently heard first: its plain fields, its templates as announced, its held sets.
cdef bytes dump_domains(Domains domains)

# The octets read; ValueError where they do not fit together.
cdef int64_t load_domains(Domains domains, const uint8_t* data, int64_t size) except -1
