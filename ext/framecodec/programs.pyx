# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What is not at a constant place, packet by packet: a layout's instructions (streams.definitions.layout), and what they write.

Every step is bounded by the packet's end, loops by its bits: no definition and no packet makes a program run on.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from framecodec.bits cimport IEEE754, load_be16, load_be32, load_be64, read_real
from framecodec.conditions cimport evaluate, holds
from framecodec.layouts cimport (
    BAD, MAKE_LABEL, MAKE_TEXT, MAKE_TIME, OK, OP_ENTER, OP_IF, OP_ITEM, OP_LEAVE, OP_LOAD, OP_LOOP, OP_MOVE_BY, OP_MOVE_TO,
    OP_NEXT, OP_READ, OP_RESTORE, OP_RUN, OP_SAVE, OP_SEEK, OUT_OF_MEMORY, SHORT, VALUE_NONE, VALUE_REAL, VALUE_SIGNED,
    VALUE_UNSIGNED, FieldC, InstructionC, Machine, ProgramC, Value,
)
from framecodec.meanings cimport finish
from framecodec.raw_values cimport read_items, read_value
from framecodec.trees cimport Cells, Tree, next_items
from framecodec.values cimport write_number

cdef enum:
    NESTING_MAX = 80         # streams.definitions.layout.NESTING_MAX of containers, of loops


cdef int run_program(Machine* machine, const ProgramC* program, void* tree, const uint8_t* packet, int64_t size) noexcept nogil:
    cdef int64_t starts[NESTING_MAX]
    cdef int64_t ends[NESTING_MAX]
    cdef int64_t fixed_ends[NESTING_MAX]
    cdef int64_t left[NESTING_MAX]
    cdef int depth = 0, loops = 0, at = 0, status
    cdef int64_t cursor = 0, saved = 0, number = 0, first, fitting
    # Every read takes a bit at least; what does not read cannot loop more often than that.
    cdef int64_t budget = 64 * size + 8 * <int64_t> program.count + 4096
    cdef const InstructionC* step
    cdef FieldC* field
    cdef Cells* cells
    cdef Value local
    cdef Value* value
    starts[0], ends[0], fixed_ends[0] = 0, 8 * size, -1
    while at < program.count:
        step = &program.steps[at]
        at += 1
        budget -= 1
        if budget < 0:
            return BAD
        if step.operation == OP_READ or step.operation == OP_LOAD:
            field = &machine.fields[step.field]
            if step.bit >= 0:
                cursor = step.bit
            if field.is_plain and (cursor & 7) == 0 and 0 <= cursor <= 8 * size - field.width:
                cells = &(<Tree> tree).cells[step.cell] if step.cell >= 0 and tree != NULL else NULL
                copy_plain(
                    machine, field, packet + (cursor >> 3), cells,
                    (<Tree> tree).domains[cells.domain].current if cells != NULL else 0,
                )
                cursor += field.width
                continue
            value = &machine.slots[field.slot] if field.slot >= 0 else &local
            status = read_value(machine, field, packet, size, &cursor, value)
            if status != OK:
                if field.slot >= 0:
                    value.stamp = 0
                return status
            if field.slot >= 0 or (step.cell >= 0 and tree != NULL):
                finish(machine, field, value)
            if field.slot >= 0:
                value.stamp = machine.stamp if value.kind != VALUE_NONE else 0
            if step.cell >= 0 and tree != NULL:
                if store_value(machine, <Tree> tree, step.cell, field, value) < 0:
                    return OUT_OF_MEMORY
        elif step.operation == OP_RUN:
            field = &machine.fields[step.field]
            if step.expression < 0:                      # as many as there is room for before the last `bit` bits
                number = (ends[depth] - step.bit - cursor) // field.width if ends[depth] - step.bit > cursor else 0
            else:
                status = evaluate(machine, step.expression, &number)
                if status != OK:
                    return status
            if number < 0:
                return BAD
            # What fits is kept, also of an array that does not fit.
            status = OK
            if cursor < 0 or number > 8 * size or number * field.width > 8 * size - cursor:
                fitting = (8 * size - cursor) // field.width if 0 <= cursor < 8 * size else 0
                status = SHORT if number > fitting else OK
                number = min(number, fitting)
            if tree != NULL and step.cell >= 0:
                first = next_items(<Tree> tree, step.domain, number)
                if first < 0:
                    return OUT_OF_MEMORY
                if number == 0:
                    pass                                 # an empty list: there may be no memory yet to write to
                elif field.is_plain and (cursor & 7) == 0:
                    read_items(
                        (<Tree> tree).cells[step.cell].raw + first * (field.width >> 3), field.width >> 3,
                        packet + (cursor >> 3), number,
                    )
                    if (<Tree> tree).tracks_valid:
                        memset((<Tree> tree).cells[step.cell].valid + first, 1, number)
                    cursor += number * field.width
                    number = 0
                elif field.is_plain:
                    (<Tree> tree).track()                # its items were not cleared: now they say what is there
                while number:
                    (<Tree> tree).domains[step.domain].current = first
                    if read_value(machine, field, packet, size, &cursor, &local) != OK:
                        return BAD
                    finish(machine, field, &local)
                    if store_value(machine, <Tree> tree, step.cell, field, &local) < 0:
                        return OUT_OF_MEMORY
                    first += 1
                    number -= 1
            else:
                cursor += number * field.width
            if status != OK:
                return status
        elif step.operation == OP_ITEM:
            if tree != NULL and (<Tree> tree).item(step.domain) < 0:
                return OUT_OF_MEMORY
        elif step.operation == OP_SEEK:
            cursor = step.bit
        elif step.operation == OP_IF:
            if not holds(machine, step.field):
                at = step.jump
        elif step.operation == OP_LOOP:
            status = evaluate(machine, step.expression, &number)
            if status != OK:
                return status
            if number < 0 or number > 8 * size:
                return BAD if number < 0 else SHORT
            if number == 0:
                at = step.jump
            else:
                left[loops] = number
                loops += 1
        elif step.operation == OP_NEXT:
            left[loops - 1] -= 1
            if left[loops - 1] == 0:
                loops -= 1
            else:
                status = evaluate(machine, step.expression, &number)
                if status != OK:
                    return status
                cursor += number
                at = step.jump
        elif step.operation == OP_ENTER:
            depth += 1
            starts[depth], ends[depth], fixed_ends[depth] = cursor, ends[depth - 1], -1
            if step.expression >= 0:
                status = evaluate(machine, step.expression, &number)
                if status != OK:
                    return status
                if number < 0:
                    return BAD
                ends[depth] = fixed_ends[depth] = cursor + number
        elif step.operation == OP_LEAVE:
            if fixed_ends[depth] >= 0:
                cursor = fixed_ends[depth]
            depth -= 1
        elif step.operation == OP_SAVE:
            saved = cursor
        elif step.operation == OP_RESTORE:
            cursor = saved
        else:
            status = evaluate(machine, step.expression, &number)
            if status != OK:
                return status
            if not -8 * (size + 1) <= number <= 8 * (size + 1):
                return SHORT
            if step.operation == OP_MOVE_TO:
                cursor = starts[depth] + number
            elif step.operation == OP_MOVE_BY:
                cursor += number
            else:
                cursor = ends[depth] - number
    return OK


# A plain number (FieldC.is_plain) of whole bytes, as it is: into its cell (NULL: not asked for), and into its slot for what
# depends on it.
cdef inline void copy_plain(Machine* machine, const FieldC* field, const uint8_t* at, Cells* cells, int64_t row) noexcept nogil:
    cdef uint64_t word
    cdef Value* slot
    if field.width == 8:
        word = at[0]
        if cells != NULL:
            cells.raw[row] = <uint8_t> word
    elif field.width == 16:
        word = load_be16(at)
        if cells != NULL:
            (<uint16_t*> cells.raw)[row] = <uint16_t> word
    elif field.width == 32:
        word = load_be32(at)
        if cells != NULL:
            (<uint32_t*> cells.raw)[row] = <uint32_t> word
    else:
        word = load_be64(at)
        if cells != NULL:
            (<uint64_t*> cells.raw)[row] = word
    if cells != NULL:
        cells.valid[row] = 1
    if field.slot >= 0:
        slot = &machine.slots[field.slot]
        slot.stamp, slot.has_value = machine.stamp, False
        if field.coding >= IEEE754:
            slot.kind, slot.real = VALUE_REAL, read_real(word, field.width, field.coding)
        else:
            slot.kind = VALUE_UNSIGNED if field.is_unsigned else VALUE_SIGNED
            slot.bits = <int64_t> word if field.is_unsigned else <int64_t> (word << (64 - field.width)) >> (64 - field.width)


cdef int store_value(Machine* machine, Tree tree, int cell, const FieldC* field, const Value* value) noexcept nogil:
    cdef Cells* cells = &tree.cells[cell]
    cdef int64_t row = tree.domains[cells.domain].current
    cdef char text[40]
    cdef float single
    if value.kind == VALUE_NONE:
        tree.track()
        return OK
    if cells.raw_bytes == 0:
        if tree.put_raw(cell, value.data, value.size) < 0:
            return OUT_OF_MEMORY
    elif value.kind == VALUE_REAL:
        if cells.raw_bytes == 4:
            single = <float> value.real
            memcpy(cells.raw + 4 * row, &single, 4)
        else:
            memcpy(cells.raw + 8 * row, &value.real, 8)
    elif cells.raw_bytes == 1:
        cells.raw[row] = <uint8_t> value.bits
    elif cells.raw_bytes == 2:
        (<int16_t*> cells.raw)[row] = <int16_t> value.bits
    elif cells.raw_bytes == 4:
        (<int32_t*> cells.raw)[row] = <int32_t> value.bits
    else:
        (<int64_t*> cells.raw)[row] = value.bits
    cells.valid[row] = 1
    if field.making == MAKE_TEXT:
        return tree.put_value(cell, <const uint8_t*> text, write_number(text, value, field.width))
    if cells.value_bytes < 0 or not value.has_value:
        return OK
    if field.making == MAKE_LABEL:
        (<int32_t*> cells.value)[row] = value.label
    elif field.making == MAKE_TIME:
        (<int64_t*> cells.value)[row] = value.time_ns
    else:
        (<double*> cells.value)[row] = value.value
    cells.value_valid[row] = 1
    return OK
