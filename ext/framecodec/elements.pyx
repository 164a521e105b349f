# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Information elements, and how a template of them becomes operations that fill columns of FLOWS.

Which element does what is a table (netflow_elements.py); an enterprise's own elements come from a table of the user's:
each fills a column of flows, or becomes a sample. What an enterprise element nobody named holds is kept on request. Nothing
here reads records.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from framecodec.columns cimport Names
from framecodec.netflow_elements import COLUMN, ELEMENTS, EXPORT_COUNTERS, FORMS, OPERATIONS, OPTIONS, SCOPES
from framecodec.records import FLOWS_FIELDS

__all__ = ["Elements"]

cdef enum:
    COLUMNS_MAX = 64
    NAMED_MAX = 0xFFFF
    PHASES = 6
    # From here on NetFlow v9 elements are a vendor's own (IANA registry: "Reserved for NetFlow v9 compatibility" ends here).
    VENDOR_V9 = 0x8000

OPTION_NAMES = (
    "rate", "interval", "space", "size", "population", "probability", "sampler", "interface", "if_name", "if_description",
    "vrf", "vrf_name", "system_init",
)
WIDTHS = {"C": 1, "S": 2, "I": 4, "L": 8}


cdef class Elements:
    """What elements mean. `enterprise` maps (enterprise number, element) to (what, form, unit): the name of a metric with
    one of FORMS and a unit or None, or of a numeric column of flows with the form `column`. `metrics` and `units` get the
    names. `keeps_unknown`: other enterprise elements are kept as octets. ValueError for what does not fit.
    """

    def __cinit__(self, Names metrics, Names units, enterprise=(), bint keeps_unknown=False):
        cdef int index
        cdef Named* named
        columns = {field[0]: (number, WIDTHS.get(field[1], 0)) for number, field in enumerate(FLOWS_FIELDS)}
        assert len(columns) <= COLUMNS_MAX
        for index in range(ELEMENTS_MAX):
            self.elements[index].operation = OP_NONE
            self.options[index] = self.scopes[index] = OP_NONE
        for element, operation, column, rank in ELEMENTS:
            self.elements[<int> element] = Element(OPERATIONS.index(operation), columns[column][0], columns[column][1], rank, 0)
        for element, name in OPTIONS.items():
            self.options[<int> element] = OPTION_RATE + <int> OPTION_NAMES.index(name)
        for index, element in enumerate(EXPORT_COUNTERS):
            self.options[<int> element] = OPTION_COUNTER
            self.option_counters[<int> element] = index
        for element, name in SCOPES.items():
            self.scopes[<int> element] = OPTION_RATE + <int> OPTION_NAMES.index(name)
        self.keeps_unknown = keeps_unknown
        known = sorted(dict(enterprise).items())
        if len(known) > NAMED_MAX:
            raise ValueError(f"more than {NAMED_MAX} enterprise elements")
        self.named = <Named*> calloc(len(known) + 1, sizeof(Named))
        if self.named == NULL:
            raise MemoryError
        for index, ((number, element), (what, form, unit)) in enumerate(known):
            named = &self.named[index]
            named.key = <uint64_t> number << 16 | <uint64_t> element
            named.unit = -1
            if form == COLUMN:
                if what not in columns or not columns[what][1]:
                    raise ValueError(f"enterprise element {number}/{element}: {what!r} is no numeric column of flows")
                named.element = Element(OP_NUMBER, columns[what][0], columns[what][1], 8, 0)
                continue
            named.element = Element(OP_NAMED, 0, 0, 0, index)
            named.form = <Form> <int> FORMS.index(form)
            named.metric = metrics.add(what)
            if unit is not None:
                named.unit = units.add(unit)
        self.named_count = len(known)

    def __dealloc__(self):
        free(self.named)

    cdef void compile(self, Template* template, bint is_v9) noexcept nogil:
        cdef uint32_t index, offset = 0
        cdef const Field* field
        cdef Element element
        cdef Op op
        cdef bint is_reverse
        cdef uint8_t best_rank[2][COLUMNS_MAX]
        cdef uint32_t best_index[2][COLUMNS_MAX]
        cdef uint32_t candidates[2][COLUMNS_MAX]
        memset(best_rank, 0xFF, sizeof(best_rank))
        memset(candidates, 0, sizeof(candidates))
        for index in range(0 if template.is_options else template.field_count):
            field = &template.fields[index]
            element = self.element(field)
            if field.length == 0 or not is_exclusive(element.operation):
                continue
            is_reverse = field.enterprise == REVERSE_PEN
            candidates[is_reverse][element.column] += 1
            if element.rank < best_rank[is_reverse][element.column]:
                best_rank[is_reverse][element.column] = element.rank
                best_index[is_reverse][element.column] = index
        for index in range(template.field_count):
            field = &template.fields[index]
            memset(&op, 0, sizeof(Op))
            op.field, op.length, op.offset = <uint16_t> index, field.length, offset
            if field.length == VARIABLE:
                template.is_variable = True
                template.min_bytes += 1
            else:
                template.min_bytes += field.length
                offset += field.length
            if field.length == 0:
                continue
            if template.is_options:
                self.compile_option(template, &op, index, is_v9)
                continue
            is_reverse = field.enterprise == REVERSE_PEN
            element = self.element(field)
            if element.operation == OP_NONE:
                continue
            # Of two addresses or masks both are read: the one of the other family may be all zero.
            if is_exclusive(element.operation) and (
                element.rank > best_rank[is_reverse][element.column]
                or (
                    best_index[is_reverse][element.column] != index and element.operation != OP_ADDRESS
                    and element.operation != OP_EITHER
                )
            ):
                continue
            op.operation, op.column, op.width, op.named = element.operation, element.column, element.width, element.named
            if op.operation == OP_ADDRESS:
                op.number = candidates[is_reverse][element.column] == 1
            if op.operation == OP_MPLS:
                op.number = <uint8_t> (field.element - 70)
                template.has_mpls = True
            if op.operation == OP_NAMED or op.operation == OP_UNKNOWN:
                template.has_named = template.is_row_wise = True
            if op.operation == OP_FRAME or op.operation == OP_PACKET or op.operation == OP_SYSTEM_INIT:
                template.is_row_wise = True
            if is_reverse:
                template.reverse[template.reverse_count] = op
                template.reverse_count += 1
                template.is_row_wise = True
                continue
            template.has_ethertype = template.has_ethertype or field.element == 256
            if op.operation == OP_ADDRESS:
                template.has_ipv4 = template.has_ipv4 or field.element == 8 or field.element == 12
                template.has_ipv6 = template.has_ipv6 or field.element == 27 or field.element == 28
            template.has_sampler = template.has_sampler or op.operation == OP_SAMPLER
            template.ops[template.op_count] = op
            template.op_count += 1
        template.is_row_wise = template.is_row_wise or template.is_variable
        sort_ops(template.ops, template.op_count)

    cdef void compile_option(self, Template* template, Op* op, uint32_t index, bint is_v9) noexcept nogil:
        cdef const Field* field = &template.fields[index]
        op.operation = OP_NONE
        if field.element >= ELEMENTS_MAX:
            return
        if index < template.scope_count and is_v9:
            op.operation = self.scopes[field.element]
        elif field.enterprise == 0:
            op.operation = self.options[field.element]
            op.number = self.option_counters[field.element]
        if op.operation != OP_NONE:
            template.ops[template.op_count] = op[0]
            template.op_count += 1

    cdef Element element(self, const Field* field) noexcept nogil:
        cdef uint64_t key = <uint64_t> field.enterprise << 16 | field.element
        cdef int low = 0, high = self.named_count, middle
        cdef Element none
        if (field.enterprise == 0 or field.enterprise == REVERSE_PEN) and field.element < ELEMENTS_MAX:
            return self.elements[field.element]
        while low < high:
            middle = (low + high) // 2
            if self.named[middle].key < key:
                low = middle + 1
            else:
                high = middle
        if low < self.named_count and self.named[low].key == key:
            return self.named[low].element
        memset(&none, 0, sizeof(Element))
        none.operation = OP_NONE
        if self.keeps_unknown and field.enterprise != REVERSE_PEN and (field.enterprise or field.element >= VENDOR_V9):
            none.operation = OP_UNKNOWN
        return none


# Packets inside a record go first, so that elements overrule them, and start times; then joint ICMP elements; rates, spaces
# and samplers last, in this order.
cdef void sort_ops(Op* ops, int count) noexcept nogil:
    cdef Op unsorted[FIELDS_MAX]
    cdef int index, step, place = 0
    memcpy(unsorted, ops, count * sizeof(Op))
    for step in range(PHASES):
        for index in range(count):
            if phase(unsorted[index].operation) == step:
                ops[place] = unsorted[index]
                place += 1


# Of these one a column is read.
cdef inline bint is_exclusive(uint8_t operation) noexcept nogil:
    return operation < OP_MPLS or OP_SECONDS <= operation < OP_ICMP


cdef inline int phase(uint8_t operation) noexcept nogil:
    if operation == OP_FRAME or operation == OP_PACKET or operation == OP_SYSTEM_INIT:
        return 0
    if operation == OP_ICMP:
        return 1
    if operation == OP_RATE:
        return 3
    if operation == OP_SPACE:
        return 4
    if operation == OP_SAMPLER:
        return 5
    return 2
