# Information elements and templates as operations. See elements.pyx.
from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    REVERSE_PEN = 29305          # RFC 5103 section 6.1
    VARIABLE = 0xFFFF            # a field length that stands for "each record says"
    ELEMENTS_MAX = 512
    FIELDS_MAX = 1024            # a template of a 65,507-octet datagram could have 16,000; real ones have up to 60

# The order of OPERATIONS in netflow_elements.py, then those of enterprise elements, then those of options records.
cdef enum Operation:
    OP_NUMBER
    OP_EITHER
    OP_ADDRESS
    OP_MAC
    OP_MPLS
    OP_SECONDS
    OP_MILLISECONDS
    OP_MICROS
    OP_NANOS
    OP_UPTIME
    OP_DELTA
    OP_ICMP
    OP_RATE
    OP_SPACE
    OP_SAMPLER
    OP_FRAME
    OP_PACKET
    OP_SYSTEM_INIT
    OP_NAMED                     # an enterprise element of the table: a sample
    OP_UNKNOWN                   # one that nobody named: its octets as a text sample
    OP_NONE
    OPTION_RATE
    OPTION_INTERVAL
    OPTION_SPACE
    OPTION_SIZE
    OPTION_POPULATION
    OPTION_PROBABILITY
    OPTION_SAMPLER
    OPTION_INTERFACE
    OPTION_IF_NAME
    OPTION_IF_DESCRIPTION
    OPTION_VRF
    OPTION_VRF_NAME
    OPTION_SYSTEM_INIT
    OPTION_COUNTER

# What the octets of a named element are; the order of FORMS in netflow_elements.py.
cdef enum Form:
    FORM_UNSIGNED
    FORM_SIGNED
    FORM_FLOAT
    FORM_BOOLEAN
    FORM_STRING
    FORM_OCTETS
    FORM_MAC
    FORM_ADDRESS

cdef struct Element:
    uint8_t operation
    uint8_t column
    uint8_t width                # octets of the column's type
    uint8_t rank
    uint16_t named               # index of a named element

# An enterprise element with a name or a column of its own.
cdef struct Named:
    uint64_t key                 # enterprise number << 16 | element
    Element element
    Form form
    int32_t metric
    int32_t unit

# One field as announced. The layout is part of the snapshot.
cdef struct Field:
    uint16_t element
    uint16_t length
    uint32_t enterprise

cdef struct Op:
    uint8_t operation
    uint8_t column
    uint8_t width
    uint8_t number               # element - 70 of a label; index of an options counter; 1 for the only address of its column
    uint16_t length
    uint16_t field               # index, for records of variable length
    uint16_t named
    uint32_t offset              # in a record of fixed length

cdef struct Template:
    Template* chain              # of its domain: the next in its bucket; by the time of the last definition
    Template* newer
    Template* older
    uint16_t id
    uint16_t field_count
    uint16_t scope_count
    bint is_options
    bint is_variable
    bint is_row_wise             # decoded record by record: variable, two rows, samples, a packet or its own start time inside
    bint has_ethertype
    bint has_mpls
    bint has_named
    bint has_sampler             # its records say which sampler took them
    bint has_ipv4
    bint has_ipv6
    uint32_t min_bytes           # of a record; exact where it is not variable
    int op_count
    int reverse_count
    Op* ops                      # all owned by the template
    Op* reverse
    Field* fields


cdef class Elements:
    cdef Element elements[ELEMENTS_MAX]
    cdef uint8_t options[ELEMENTS_MAX]
    cdef uint8_t option_counters[ELEMENTS_MAX]
    cdef uint8_t scopes[ELEMENTS_MAX]
    cdef Named* named                # by key, owned
    cdef int named_count
    cdef bint keeps_unknown

    # Fields into operations: for each column the best element, in the order of the template. `ops` and `reverse` have room
    # for one each.
    cdef void compile(self, Template* template, bint is_v9) noexcept nogil
    cdef void compile_option(self, Template* template, Op* op, uint32_t index, bint is_v9) noexcept nogil
    cdef Element element(self, const Field* field) noexcept nogil
