# Templates, options and held sets of NetFlow v9 and IPFIX exporters. See templates.pyx.
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    REVERSE_PEN = 29305          # RFC 5103 section 6.1
    VARIABLE = 0xFFFF            # a field length that stands for "each record says"
    ELEMENTS_MAX = 512
    EXPORTER_MAX = 60
    FIELDS_MAX = 1024            # a template of a 65,507-octet datagram could have 16,000; real ones have up to 60

# The order of OPERATIONS in netflow_elements.py, and then those of options records.
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
    OP_NONE
    OPTION_RATE
    OPTION_INTERVAL
    OPTION_SPACE
    OPTION_SIZE
    OPTION_POPULATION
    OPTION_SAMPLER
    OPTION_INTERFACE
    OPTION_IF_NAME
    OPTION_IF_DESCRIPTION
    OPTION_VRF
    OPTION_VRF_NAME
    OPTION_SYSTEM_INIT
    OPTION_COUNTER

cdef struct Element:
    uint8_t operation
    uint8_t column
    uint8_t width                # octets of the column's type
    uint8_t rank

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
    uint32_t offset              # in a record of fixed length

cdef struct Template:
    uint16_t id
    uint16_t field_count
    uint16_t scope_count
    bint is_options
    bint is_variable
    bint is_row_wise             # decoded record by record: variable, two rows, a packet or its own start time inside
    bint has_ethertype
    bint has_rate
    bint has_mpls
    bint has_ipv4
    bint has_ipv6
    uint32_t min_bytes           # of a record; exact where it is not variable
    int op_count
    int reverse_count
    Op* ops                      # all owned by the template
    Op* reverse
    Field* fields

# What a set needs of its message when it is decoded later.
cdef struct Message:
    uint32_t version
    uint32_t domain
    uint32_t sequence
    uint32_t uptime_ms
    int64_t export_ns
    int64_t received_ns
    int64_t frame_offset          # of the datagram, where the input is a file
    int64_t set_offset           # of the set in the datagram
    uint32_t has_received
    uint32_t set_id

cdef struct Held:
    Held* next
    int64_t size_bytes
    Message message
    uint8_t* data                # the set after its header; owned, in the same block

cdef struct Domain:
    uint64_t key[3]              # address, version and domain
    Domain* chain
    Domain* newer
    Domain* older
    Template** templates         # open addressing by id, owned
    uint32_t template_mask
    uint32_t template_count
    Held* first
    Held* last
    int64_t held_bytes
    uint32_t default_rate
    uint32_t lone_rate           # of the only sampler told of, 0 where there are several
    uint64_t lone_sampler
    bint has_several_samplers
    bint has_samplers
    bint has_interface_rates
    int64_t system_init_ms
    uint32_t exporter_size
    uint8_t exporter[EXPORTER_MAX]   # the sender as text: not always an address


cdef class Domains:
    cdef Element elements[ELEMENTS_MAX]
    cdef Element enterprise_elements[64]
    cdef uint64_t enterprise_keys[64]
    cdef int enterprise_count
    cdef uint8_t options[ELEMENTS_MAX]
    cdef uint8_t option_counters[ELEMENTS_MAX]
    cdef uint8_t scopes[ELEMENTS_MAX]
    cdef Domain** buckets
    cdef Domain* newest
    cdef Domain* oldest
    cdef readonly uint32_t count
    cdef readonly int64_t template_bytes
    cdef readonly int64_t held_bytes
    cdef readonly uint64_t forgotten
    cdef readonly uint64_t withdrawals

    # The domain of this key, made when there is none; NULL when out of memory. Good until the next find().
    cdef Domain* find(self, uint64_t high, uint64_t low, uint64_t version_domain) noexcept nogil
    cdef Template* template(self, const Domain* domain, uint32_t number) noexcept nogil
    # Takes a definition; 1 new or changed, 0 known already, -1 out of memory, -2 record size 0, -3 too many.
    cdef int define(
        self, Domain* domain, uint32_t number, const Field* fields, uint32_t field_count, uint32_t scope_count, bint is_options,
    ) noexcept nogil
    cdef void compile(self, Template* template, bint is_v9) noexcept nogil
    cdef Element element(self, const Field* field) noexcept nogil
    cdef void withdraw(self, Domain* domain, uint32_t number) noexcept nogil
    # Keeps a set; 0, or -1 when it does not fit and the caller must reject it.
    cdef int hold(self, Domain* domain, const Message* message, const uint8_t* data, int64_t size) noexcept nogil
    # Unlinks the first held set that this template decodes, or that is older than `before_ns`, or (any) the first at all.
    cdef Held* take_for(self, Domain* domain, uint32_t set_id) noexcept nogil
    cdef Held* take_before(self, Domain* domain, int64_t before_ns) noexcept nogil
    cdef Held* take_any(self, Domain* domain) noexcept nogil
    cdef void forget(self, Domain* domain) noexcept nogil
    cdef void clear(self) noexcept nogil
    cdef bytes dump(self)
    cdef int64_t load(self, const uint8_t* data, int64_t size) except -1
