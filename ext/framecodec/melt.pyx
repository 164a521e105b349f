# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Decoded values to SAMPLES: one row for each value of each packet, in the order of the container.

The metric is the parameter's XTCE path, with members of aggregates after a slash; every item of a list is a sample of its
own. The value is the calibrated one; an enumeration's is its raw value, with the label as text; a string is text alone.
Binary parameters are left out: a window of bytes means nothing. With `raw`, a parameter that has a calibrator gives a second
sample, `<metric>/raw` without a unit: what was sent, also where it lies outside of the calibration.
"""
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free

from framecodec.columns cimport Column, Names, Rows
from framecodec.layouts cimport MAKE_LABEL, MAKE_TEXT, MAKE_TIME
from framecodec.plan cimport Plan
from framecodec.records cimport (
    SAMPLE_ENTITY, SAMPLE_KIND, SAMPLE_METRIC, SAMPLE_QUALITY, SAMPLE_RECEIVED, SAMPLE_SOURCE, SAMPLE_TEXT, SAMPLE_TIME,
    SAMPLE_UNIT, SAMPLE_VALUE,
)
from framecodec.trees cimport Cells, Domain, Tree

cdef enum:
    LISTS_MAX = 8
    RAW_UNSIGNED = 0
    RAW_SIGNED = 1
    RAW_REAL = 2
    RAW_TEXT = 3
    RAW_SKIPPED = 4
    # Strings of packets go into the dictionary; one that has grown beyond this starts anew with the next batch.
    TEXTS_MAX = 65536

RAW_KINDS = {"C": RAW_UNSIGNED, "S": RAW_UNSIGNED, "I": RAW_UNSIGNED, "L": RAW_UNSIGNED, "c": RAW_SIGNED, "s": RAW_SIGNED,
             "i": RAW_SIGNED, "l": RAW_SIGNED, "f": RAW_REAL, "g": RAW_REAL, "u": RAW_TEXT, "z": RAW_SKIPPED}
KINDS = ("gauge", "state", "text")


def leaves(column, lists=()):
    """(scalar, domains of the lists around it) for every scalar below a column."""
    if column.scalar >= 0:
        yield column.scalar, lists
    for member in column.members:
        yield from leaves(member, (*lists, column.list_domain) if column.list_domain >= 0 else lists)


cdef class Melter:
    """For the containers of `plan`. The dictionaries are for the Rows that the samples go into."""

    def __cinit__(self, Plan plan, bint raw=False):
        cdef ColumnC* column
        cdef int number, index
        self.plan, self.rows_each = plan, 1 + raw
        self.metrics, self.units, self.kinds, self.texts = Names(), Names(), Names(), Names()
        for kind in KINDS:
            self.kinds.add(kind)
        found = []
        labels = []
        starts = [0]
        for container, tree in enumerate(plan.trees):
            for top in (<Tree> tree).columns:
                for scalar, lists in leaves(top):
                    found.append((container, scalar, lists))
            starts.append(len(found))
        self.columns = <ColumnC*> calloc(len(found) + 1, sizeof(ColumnC))
        self.starts = <int*> calloc(len(starts), sizeof(int))
        if self.columns == NULL or self.starts == NULL:
            raise MemoryError
        for number, start in enumerate(starts):
            self.starts[number] = start
        for number, (container, scalar, lists) in enumerate(found):
            tree = plan.trees[container]
            column = &self.columns[number]
            sent, value, words = (<Tree> tree).formats[scalar]
            source = plan.definition.fields[(<Tree> tree).field_numbers[scalar]]
            if len(lists) > LISTS_MAX:
                raise ValueError(f"{source.path} is inside more than {LISTS_MAX} lists")
            column.cell, column.metric = scalar, self.metrics.add(source.path)
            column.unit = self.units.add(source.unit) if source.unit else -1
            column.kind = KINDS.index(source.kind) if source.kind in KINDS else 0
            column.raw_kind = RAW_KINDS[sent]
            is_calibrated = value == "g" and not words and column.raw_kind <= RAW_REAL
            column.raw_metric = self.metrics.add(f"{source.path}/raw") if raw and is_calibrated else -1
            if words:
                column.making, column.labels = MAKE_LABEL, len(labels)
                labels += [self.texts.add(word) for word in words]
                if column.raw_kind == RAW_SKIPPED:
                    column.raw_kind = RAW_TEXT
            elif value == "tsn:UTC":
                column.making = MAKE_TIME
            elif value == "u":
                column.making = MAKE_TEXT
            column.depth = len(lists)
            for index, domain in enumerate(lists):
                column.lists[index] = domain
        self.label_ids = <int32_t*> calloc(len(labels) + 1, sizeof(int32_t))
        if self.label_ids == NULL:
            raise MemoryError
        for number, label in enumerate(labels):
            self.label_ids[number] = label
        self.texts_base = len(labels)

    def __dealloc__(self):
        free(self.columns)
        free(self.starts)
        free(self.label_ids)

    def texts_are_many(self) -> bool:
        """Whether strings of packets have filled the dictionary: time for a new Melter."""
        return self.texts.count > self.texts_base + TEXTS_MAX

    cdef int melt(
        self, Rows rows, int32_t container, int64_t row, int64_t time_ns, int64_t received_ns,
        int32_t entity, int32_t source, uint16_t quality,
    ) noexcept nogil:
        cdef int number
        # One look for all scalars; lists ask for more below.
        if rows.reserve(self.rows_each * (self.starts[container + 1] - self.starts[container])) < 0:
            return -1
        for number in range(self.starts[container], self.starts[container + 1]):
            if self.columns[number].raw_kind == RAW_SKIPPED:
                continue
            if self.melt_column(
                rows, <Tree> self.plan.layouts[container].tree, &self.columns[number], row, time_ns, received_ns,
                entity, source, quality,
            ) < 0:
                return -1
            if self.columns[number].depth and rows.reserve(self.rows_each * (self.starts[container + 1] - number)) < 0:
                return -1
        return 0

    cdef int melt_column(
        self, Rows rows, Tree tree, const ColumnC* column, int64_t row, int64_t time_ns, int64_t received_ns,
        int32_t entity, int32_t source, uint16_t quality,
    ) noexcept nogil:
        cdef int64_t first = row, end = row + 1, item
        cdef int level
        cdef Domain* inside
        for level in range(column.depth):
            inside = &tree.domains[column.lists[level]]
            # Items of the parent beyond `filled` have got nothing yet.
            if first >= inside.filled:
                return 0
            first, end = inside.ends[first], inside.ends[min(end, inside.filled)]
        if column.depth and rows.reserve(self.rows_each * (end - first)) < 0:
            return -1
        for item in range(first, end):
            if (tree.cells[column.cell].is_optional or tree.has_gaps) and not tree.cells[column.cell].valid[item]:
                continue
            if self.put(rows, tree, column, item, time_ns, received_ns, entity, source, quality) < 0:
                return -1
        return 0

    cdef int put(
        self, Rows rows, Tree tree, const ColumnC* column, int64_t item, int64_t time_ns, int64_t received_ns,
        int32_t entity, int32_t source, uint16_t quality,
    ) noexcept nogil:
        cdef Cells* cells = &tree.cells[column.cell]
        cdef int32_t text = -1
        cdef double value = 0
        cdef bint has_value = True
        if column.making == MAKE_LABEL:
            if cells.value_valid[item]:
                text = self.label_ids[column.labels + (<int32_t*> cells.value)[item]]
            has_value = column.raw_kind != RAW_TEXT
            if has_value:
                value = raw_number(cells, column.raw_kind, item)
        elif column.making == MAKE_TEXT:
            text = self.texts.intern(
                cells.value_data + cells.value_ends[item], cells.value_ends[item + 1] - cells.value_ends[item],
            )
            has_value = False
            if text < 0:
                return -1
        elif column.raw_kind == RAW_TEXT:
            text = self.texts.intern(cells.data + cells.ends[item], cells.ends[item + 1] - cells.ends[item])
            has_value = False
            if text < 0:
                return -1
        elif cells.value_bytes < 0:
            value = raw_number(cells, column.raw_kind, item)
        elif (not cells.is_total or tree.has_gaps) and not cells.value_valid[item]:
            has_value = False                                # outside its calibration
        elif column.making == MAKE_TIME:
            value = <double> (<int64_t*> cells.value)[item] / 1e9
        else:
            value = (<double*> cells.value)[item]
        if has_value or text >= 0:
            self.write(rows, column, column.metric, has_value, value, text, time_ns, received_ns, entity, source, quality)
        if column.raw_metric >= 0:
            value = raw_number(cells, column.raw_kind, item)
            self.write(rows, column, column.raw_metric, True, value, -1, time_ns, received_ns, entity, source, quality)
        return 0

    # There must be room for the row.
    cdef void write(
        self, Rows rows, const ColumnC* column, int metric, bint has_value, double value, int32_t text, int64_t time_ns,
        int64_t received_ns, int32_t entity, int32_t source, uint16_t quality,
    ) noexcept nogil:
        cdef Column* out = rows.columns
        cdef int64_t row = rows.length
        (<int64_t*> out[SAMPLE_TIME].values)[row] = time_ns
        if received_ns >= 0:
            (<int64_t*> out[SAMPLE_RECEIVED].values)[row] = received_ns
            out[SAMPLE_RECEIVED].valid[row] = 1
        (<int32_t*> out[SAMPLE_ENTITY].values)[row] = entity
        (<int32_t*> out[SAMPLE_METRIC].values)[row] = metric
        if has_value:
            (<double*> out[SAMPLE_VALUE].values)[row] = value
            out[SAMPLE_VALUE].valid[row] = 1
        if text >= 0:
            (<int32_t*> out[SAMPLE_TEXT].values)[row] = text
            out[SAMPLE_TEXT].valid[row] = 1
        (<int32_t*> out[SAMPLE_KIND].values)[row] = column.kind
        if column.unit >= 0 and metric == column.metric:
            (<int32_t*> out[SAMPLE_UNIT].values)[row] = column.unit
            out[SAMPLE_UNIT].valid[row] = 1
        (<int32_t*> out[SAMPLE_SOURCE].values)[row] = source
        (<uint16_t*> out[SAMPLE_QUALITY].values)[row] = quality
        rows.length += 1                                     # SAMPLES has no columns of bytes: nothing else to close


cdef inline double raw_number(const Cells* cells, int kind, int64_t item) noexcept nogil:
    if kind == RAW_REAL:
        return (<float*> cells.raw)[item] if cells.raw_bytes == 4 else (<double*> cells.raw)[item]
    if kind == RAW_UNSIGNED:
        if cells.raw_bytes == 1:
            return cells.raw[item]
        if cells.raw_bytes == 2:
            return (<uint16_t*> cells.raw)[item]
        return (<uint32_t*> cells.raw)[item] if cells.raw_bytes == 4 else <double> (<uint64_t*> cells.raw)[item]
    if cells.raw_bytes == 1:
        return (<int8_t*> cells.raw)[item]
    if cells.raw_bytes == 2:
        return (<int16_t*> cells.raw)[item]
    return (<int32_t*> cells.raw)[item] if cells.raw_bytes == 4 else <double> (<int64_t*> cells.raw)[item]
