# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""From a Definition's Python objects to the C structs that framecodec.plan runs; once, when a Plan is made.

Everything was checked when the definition was loaded: what does not fit here is a mistake of ours.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.stdlib cimport calloc

from framecodec.bits cimport BCD, IEEE754, PACKED_BCD, TWOS_COMPLEMENT, UNSIGNED
from framecodec.layouts cimport (
    CALIBRATOR_MATH, CALIBRATOR_POLYNOMIAL, CALIBRATOR_SPLINE, M_NUMBER, M_OTHER, MAKE_CALIBRATED, MAKE_LABEL, MAKE_NOTHING,
    MAKE_POLYNOMIAL, MAKE_SPAN, MAKE_TEXT, MAKE_TIME, MODE_BYTES, MODE_RANGES, MODE_REAL, MODE_SLOT, MODE_WHOLE, OP_ENTER,
    OP_IF, OP_ITEM, OP_LEAVE, OP_LOAD, OP_LOOP, OP_MOVE_BY, OP_MOVE_FROM_END, OP_MOVE_TO, OP_NEXT, OP_READ, OP_RESTORE, OP_RUN,
    OP_SAVE, OP_SEEK, TEST_AND, TEST_COMPARE, TEST_OR, CalibratorC, ExpressionC, FieldC, FixedC, InstructionC, LabelC, LayoutC,
    LoadC, LookupC, MathC, NodeC, ProgramC, TestC,
)
from framecodec.plan cimport Plan
from framecodec.timecodes cimport CodeKind, Scale
from framecodec.tree_out cimport TreeLayout
from framecodec.trees cimport Tree

from dataclasses import replace

from framecodec.bits import KINDS
from framecodec.text import CHARSETS
from framecodec.timecodes import SCALES
from framecodec.values import COMPARISONS, MATH

cdef enum:
    LABEL_TABLE_BITS = 12

OPERATIONS = {
    "read": OP_READ, "load": OP_LOAD, "run": OP_RUN, "run_to_end": OP_RUN, "item": OP_ITEM,
    "seek": OP_SEEK, "move_to": OP_MOVE_TO, "move_by": OP_MOVE_BY, "move_from_end": OP_MOVE_FROM_END,
    "if": OP_IF, "loop": OP_LOOP, "next": OP_NEXT, "enter": OP_ENTER, "leave": OP_LEAVE,
    "save": OP_SAVE, "restore": OP_RESTORE,
}


def build(Plan plan, parameters) -> None:
    """Fill `plan` from its definition; `parameters` are the names or paths of those to compute, None for all."""
    build_conditions(plan)
    build_expressions(plan)
    build_fields(plan)
    build_layouts(plan, wanted_paths(plan.definition, parameters))
    build_nodes(plan)


cdef void* zeroed(size_t count, size_t size) except NULL:
    cdef void* memory = calloc(count + 1, size)
    if memory == NULL:
        raise MemoryError
    return memory


def wanted_paths(definition, parameters):
    """The paths that `parameters` name (by name, path or the end of one; an aggregate for its members), or None for all."""
    if parameters is None:
        return None
    wanted = set()
    for asked in parameters:
        inside = f"/{asked.strip('/')}/"
        found = {parameter.path for parameter in definition.parameters if inside in f"{parameter.path}/"}
        if not found:
            raise ValueError(f"the definition has no parameter '{asked}'")
        wanted |= found
    return wanted


cdef build_conditions(Plan plan):
    conditions = plan.definition.conditions + tuple(node.condition for node in plan.definition.nodes) + tuple(
        condition for field in plan.definition.fields for condition, _ in field.calibrators
    ) + tuple(condition for expression in plan.definition.expressions for condition, _ in expression.lookup) + tuple(
        condition for field in plan.definition.fields for condition, _ in field.encoding.size.lookup
    )
    distinct = list(dict.fromkeys(conditions))
    plan.condition_numbers = {condition: number for number, condition in enumerate(distinct)}
    cdef int total = sum(map(len, distinct))
    cdef int index = 0, number
    cdef TestC* test
    plan.machine.tests = <TestC*> zeroed(total, sizeof(TestC))
    plan.machine.condition_start = <int*> zeroed(len(distinct) + 1, sizeof(int))
    ranges = []
    for number, condition in enumerate(distinct):
        plan.machine.condition_start[number] = index
        for item in condition:
            test = &plan.machine.tests[index]
            index += 1
            if isinstance(item, tuple):
                test.kind = TEST_AND if item[0] == "and" else TEST_OR
                test.count = item[1]
                continue
            test.kind = TEST_COMPARE
            test.slot, test.is_calibrated, test.operator = item.slot, item.is_calibrated, COMPARISONS.index(item.operator)
            test.other, test.other_is_calibrated = item.other, item.other_is_calibrated
            if item.ranges:
                test.mode, test.range_start, test.range_count = MODE_RANGES, len(ranges), len(item.ranges)
                ranges += item.ranges
            elif item.other >= 0:
                test.mode = MODE_SLOT
            elif isinstance(item.value, bytes):
                plan.texts.append(item.value)
                test.mode, test.size = MODE_BYTES, len(item.value)
                test.data = <const uint8_t*> <char*> item.value
            elif isinstance(item.value, int) and -(1 << 63) <= item.value < 1 << 64:
                test.mode, test.is_unsigned = MODE_WHOLE, item.value >= 0
                test.whole = <int64_t> <uint64_t> item.value if item.value >= 0 else <int64_t> item.value
            else:
                test.mode, test.real = MODE_REAL, float(item.value)
    plan.machine.condition_start[len(distinct)] = index
    plan.machine.ranges = <int64_t*> zeroed(2 * len(ranges), sizeof(int64_t))
    for number, (low, high) in enumerate(ranges):
        plan.machine.ranges[2 * number], plan.machine.ranges[2 * number + 1] = low, high


cdef int condition_number(Plan plan, condition) except -2:
    return -1 if not condition else plan.condition_numbers[condition]


cdef build_expressions(Plan plan):
    everything = list(plan.definition.expressions) + [field.encoding.size for field in plan.definition.fields]
    lookups = [item for expression in everything for item in expression.lookup]
    cdef int number, lookup = 0
    plan.machine.expressions = <ExpressionC*> zeroed(len(everything), sizeof(ExpressionC))
    plan.machine.lookups = <LookupC*> zeroed(len(lookups), sizeof(LookupC))
    for number, expression in enumerate(everything):
        # streams.definitions.conditions bounds them, so that evaluate() cannot overflow.
        assert abs(expression.slope) <= 8192 and abs(expression.intercept) <= 1 << 41, expression
        plan.machine.expressions[number].intercept = expression.intercept
        plan.machine.expressions[number].slope = expression.slope
        plan.machine.expressions[number].slot = expression.slot
        plan.machine.expressions[number].is_calibrated = expression.is_calibrated
        plan.machine.expressions[number].lookup, plan.machine.expressions[number].lookup_count = lookup, len(expression.lookup)
        for condition, value in expression.lookup:
            plan.machine.lookups[lookup].condition = condition_number(plan, condition)
            plan.machine.lookups[lookup].value = value
            lookup += 1


cdef build_fields(Plan plan):
    cdef int number, index
    cdef FieldC* field
    cdef int32_t label
    fields = plan.definition.fields
    labels, table, calibrators, numbers, math = [], [], [], [], []
    plan.field_count = len(fields)
    plan.machine.fields = <FieldC*> zeroed(len(fields), sizeof(FieldC))
    for number, source in enumerate(fields):
        field, coded = &plan.machine.fields[number], source.encoding
        field.coding = KINDS.index(coded.kind)
        field.is_unsigned = field.coding in (UNSIGNED, BCD, PACKED_BCD)
        field.width, field.size = -1, -1
        if coded.size.constant is not None:
            field.width = coded.size.constant
        else:
            field.size = len(plan.definition.expressions) + number
        field.is_little_endian, field.is_bit_reversed = coded.is_little_endian, coded.is_bit_reversed
        field.order_count = len(coded.byte_order)
        for index, significance in enumerate(coded.byte_order):
            field.order[index] = significance
        field.slot = plan.definition.slots.get(source.path, -1)
        field.charset = CHARSETS.index(coded.charset)
        field.leading_bits, field.termination_bytes = coded.leading_size_bits, len(coded.termination)
        for index, octet in enumerate(coded.termination[:4]):
            field.termination[index] = octet
        field.offset_from, field.label_table = -1, -1
        if source.labels:
            words = list(dict.fromkeys(label for _, _, label in source.labels))
            field.making, field.label, field.label_count = MAKE_LABEL, len(labels), len(source.labels)
            labels += [(low, high, words.index(word)) for low, high, word in source.labels]
            if field.coding == UNSIGNED and field.width <= LABEL_TABLE_BITS:
                field.label_table = len(table)
                filled = [-1] * (1 << field.width)
                for low, high, word in reversed(source.labels):
                    for value in range(max(low, 0), min(high, len(filled) - 1) + 1):
                        filled[value] = words.index(word)
                table += filled
        elif source.time is not None:
            time = source.time
            field.making = MAKE_TIME if time.is_absolute else MAKE_SPAN
            field.tick_ns, field.offset_ns, field.epoch_ns = time.tick_ns, time.offset_ns, time.epoch_ns
            field.tick_whole = round(time.tick_ns) if abs(time.tick_ns - round(time.tick_ns)) < 1e-9 * abs(time.tick_ns) else 0
            field.scale, field.offset_from = <Scale> <int> SCALES.index(time.scale), time.offset_from
        elif source.is_number_as_text:
            field.making = MAKE_TEXT
        elif source.calibrators:
            field.calibrator, field.calibrator_count = len(calibrators), len(source.calibrators)
            single = (
                len(source.calibrators) == 1 and not source.calibrators[0][0]
                and source.calibrators[0][1].kind == "polynomial"
            )
            field.making = MAKE_POLYNOMIAL if single else MAKE_CALIBRATED
            for condition, calibrator in source.calibrators:
                if calibrator.kind == "polynomial":
                    calibrators.append((CALIBRATOR_POLYNOMIAL, condition, len(numbers), len(calibrator.coefficients), 0, False))
                    numbers += calibrator.coefficients
                elif calibrator.kind == "spline":
                    calibrators.append((
                        CALIBRATOR_SPLINE, condition, len(numbers), len(calibrator.points), calibrator.order,
                        calibrator.is_extrapolated,
                    ))
                    numbers += [part for point in calibrator.points for part in point]
                else:
                    calibrators.append((CALIBRATOR_MATH, condition, len(math), len(calibrator.program), 0, False))
                    math += map(math_step, calibrator.program)
        field.is_plain = is_straight(field) and field.width in (8, 16, 32, 64) and field.making == MAKE_NOTHING
    plan.machine.labels = <LabelC*> zeroed(len(labels), sizeof(LabelC))
    for number, (low, high, word) in enumerate(labels):
        plan.machine.labels[number].low, plan.machine.labels[number].high, plan.machine.labels[number].index = low, high, word
    plan.machine.label_table = <int32_t*> zeroed(len(table), sizeof(int32_t))
    for number, label in enumerate(table):
        plan.machine.label_table[number] = label
    plan.machine.numbers = <double*> zeroed(len(numbers), sizeof(double))
    for number, value in enumerate(numbers):
        plan.machine.numbers[number] = value
    plan.machine.math = <MathC*> zeroed(len(math), sizeof(MathC))
    for number, (operator, value, slot, is_calibrated) in enumerate(math):
        plan.machine.math[number].operator, plan.machine.math[number].value = operator, value
        plan.machine.math[number].slot, plan.machine.math[number].is_calibrated = slot, is_calibrated
    plan.machine.calibrators = <CalibratorC*> zeroed(len(calibrators), sizeof(CalibratorC))
    for number, (kind, condition, start, count, order, extrapolated) in enumerate(calibrators):
        plan.machine.calibrators[number].kind = kind
        plan.machine.calibrators[number].condition = condition_number(plan, condition)
        plan.machine.calibrators[number].start, plan.machine.calibrators[number].count = start, count
        plan.machine.calibrators[number].order, plan.machine.calibrators[number].is_extrapolated = order, extrapolated


# Bits that are the number as they stand: most significant first, in the coding of C.
cdef bint is_straight(const FieldC* field) noexcept:
    return (
        (field.coding in (UNSIGNED, TWOS_COMPLEMENT) or (field.coding == IEEE754 and field.width != 16))
        and not (field.order_count or field.is_little_endian or field.is_bit_reversed)
    )


def math_step(item):
    """Operator, number, slot and whether its calibrated value counts: a MathC."""
    if isinstance(item, str):
        return MATH.index(item), 0.0, -1, False
    return (M_OTHER, 0.0, item.slot, item.is_calibrated) if isinstance(item, tuple) else (M_NUMBER, item, -1, False)


# `cells`: the cell of each scalar, -1 where it is not asked for.
cdef build_program(ProgramC* program, instructions, cells):
    cdef InstructionC* step
    program.steps = <InstructionC*> zeroed(len(instructions), sizeof(InstructionC))
    program.count = len(instructions)
    for number, (name, *parts) in enumerate(instructions):
        step = &program.steps[number]
        step.operation, step.cell, step.bit, step.expression = OPERATIONS[name], -1, -1, -1
        if name == "read":
            step.field, step.bit = parts[0], parts[2]
            step.cell = cells[parts[1]]
        elif name == "load":
            step.field, step.bit = parts
        elif name == "run":
            step.domain, step.field, step.expression = parts[0], parts[1], parts[3]
            step.cell = cells[parts[2]]
        elif name == "run_to_end":
            step.domain, step.field, step.bit = parts[0], parts[1], parts[3]
            step.cell = cells[parts[2]]
        elif name == "item":
            step.domain = parts[0]
        elif name == "seek":
            step.bit = parts[0]
        elif name == "if":
            step.field, step.jump = parts
        elif name in ("loop", "next"):
            step.expression, step.jump = parts
        elif parts:
            step.expression = parts[0]


cdef build_layouts(Plan plan, wanted):
    cdef LayoutC* layout
    cdef FixedC* fixed
    cdef FieldC* field
    cdef int number
    cdef int64_t widest = 0
    definition = plan.definition
    plan.container_count, plan.layout_count = len(definition.containers), len(definition.layouts)
    plan.layouts = <LayoutC*> zeroed(plan.container_count, sizeof(LayoutC))
    plan.deciding = <ProgramC*> zeroed(plan.layout_count, sizeof(ProgramC))
    for number, source in enumerate(definition.layouts):
        build_program(&plan.deciding[number], source.full, [-1] * len(source.scalars))
    for container in definition.containers:
        source = definition.layouts[container.layout]
        layout = &plan.layouts[container.index]
        cells, kept = [], []
        for scalar, (field_number, domain, optional) in enumerate(source.scalars):
            if wanted is None or definition.fields[field_number].path in wanted or scalar == source.time_scalar:
                cells.append(len(kept))
                kept.append((field_number, domain, optional))
            else:
                cells.append(-1)
        formats = []
        for field_number, _, _ in kept:
            field_source = definition.fields[field_number]
            words = list(dict.fromkeys(label for _, _, label in field_source.labels)) or None
            formats.append((field_source.raw_format, field_source.value_format, words))
        columns = source.columns
        if wanted is not None:
            columns = [
                column for column in (numbered(column, cells, wanted, source, definition) for column in columns)
                if column is not None
            ]
        fixed_cells = {cells[scalar]: source.scalars[scalar][0] for scalar, _ in source.fixed if cells[scalar] >= 0}
        # Arrays of plain numbers are written whole, too.
        for name, *parts in source.tail:
            if name in ("run", "run_to_end") and plan.machine.fields[<int> parts[1]].is_plain and cells[parts[2]] >= 0:
                fixed_cells[cells[parts[2]]] = parts[1]
        # Polynomials of whole numbers and floats always have a value; decimal digits above 9 have not even a raw one.
        total = {
            cell for cell, number in fixed_cells.items()
            if plan.machine.fields[<int> number].making == MAKE_POLYNOMIAL
            and plan.machine.fields[<int> number].coding not in (BCD, PACKED_BCD)
        }
        tree = Tree(columns, kept, source.domains, formats, fixed_cells, total)
        plan.trees.append(tree)
        plan.outputs.append(TreeLayout(tree))
        layout.tree = <void*> tree
        layout.time_cell = cells[source.time_scalar] if source.time_scalar >= 0 else -1
        build_program(&layout.tail, source.tail, cells)
        build_program(&layout.full, source.full, cells)
        layout.fixed_bytes = (source.fixed_bits + 7) // 8
        widest = max(widest, layout.fixed_bytes)
        layout.fixed_count = len(source.fixed)
        layout.fixed = <FixedC*> zeroed(len(source.fixed), sizeof(FixedC))
        for number, (scalar, bit) in enumerate(source.fixed):
            fixed = &layout.fixed[number]
            fixed.cell, fixed.field, fixed.bit = cells[scalar], source.scalars[scalar][0], bit
            field = &plan.machine.fields[fixed.field]
            fixed.width, fixed.window = field.width, -1
            window = min(bit // 8, layout.fixed_bytes - 8)
            if bit % 8 == 0 and field.width in (8, 16, 32, 64):      # read as it is, without the bytes around it
                window = bit // 8
            if is_straight(field) and window >= 0 and bit + field.width <= 8 * window + 64:
                fixed.window, fixed.lead, fixed.is_signed = window, bit - 8 * window, field.coding == TWOS_COMPLEMENT
        code = source.time_code
        plan.has_times |= code is not None or layout.time_cell >= 0
        if code is not None:
            layout.has_code = True
            layout.code.kind, layout.code.bit = <CodeKind> 0, code.bit
            layout.code.day_bits, layout.code.sub_bits = code.day_bits, code.submillisecond_bits
            layout.code.epoch_ns, layout.code.scale = code.epoch_ns, <Scale> <int> SCALES.index(code.scale)
    plan.zeros = <uint8_t*> zeroed(widest + 8, 1)            # a column may be read through eight bytes


def numbered(column, cells, wanted, layout, definition):
    """The column with cells for scalars, without what is not asked for; None if nothing is left."""
    if column.scalar >= 0:
        path = definition.fields[layout.scalars[column.scalar][0]].path
        return None if path not in wanted else replace(column, scalar=cells[column.scalar])
    members = tuple(
        member for member in (numbered(member, cells, wanted, layout, definition) for member in column.members)
        if member is not None
    )
    return replace(column, members=members) if members else None


cdef build_nodes(Plan plan):
    cdef NodeC* node
    cdef int number, index
    plan.node_count = len(plan.definition.nodes)
    plan.nodes = <NodeC*> zeroed(plan.node_count, sizeof(NodeC))
    for number, source in enumerate(plan.definition.nodes):
        node = &plan.nodes[number]
        node.container, node.layout = source.container, source.layout
        node.condition = condition_number(plan, source.condition)
        node.child_count, node.load_count = len(source.children), len(source.loads)
        node.children = <int*> zeroed(node.child_count, sizeof(int))
        node.loads = <LoadC*> zeroed(node.load_count, sizeof(LoadC))
        for index, child in enumerate(source.children):
            node.children[index] = child
        for index, (slot, field, bit) in enumerate(source.loads):
            node.loads[index].slot, node.loads[index].field, node.loads[index].bit = slot, field, bit
