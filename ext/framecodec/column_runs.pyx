# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What is at a constant place, column by column: a block of packets stays in the cache while all columns are read from it."""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memset

from framecodec.bits cimport IEEE754
from framecodec.layouts cimport (
    MAKE_LABEL, MAKE_POLYNOMIAL, MAKE_TIME, OK, VALUE_NONE, FieldC, FixedC, LayoutC, Machine, Value,
)
from framecodec.meanings cimport finish
from framecodec.programs cimport store_value
from framecodec.raw_values cimport read_value
from framecodec.trees cimport Cells, Tree
from framecodec.values cimport load_cell

cdef extern from *:
    """
    /* One column of one block: the bits after `lead` of the eight bytes at `window` of each packet. Whole bytes are loaded as
       what they are; the rest through a shift to the left (what is before goes) and one to the right. */
    #define FRAMECODEC_LOOP(TYPE, EXPRESSION) do { TYPE* restrict to = (TYPE*)out; \\
        if (stride) { const uint8_t* at = packets[0] + window; \\
            _Pragma("GCC unroll 4") for (int64_t i = 0; i < count; i++) { to[i] = (TYPE)(EXPRESSION); at += stride; } } \\
        else _Pragma("GCC unroll 4") for (int64_t i = 0; i < count; i++) { \\
            const uint8_t* at = packets[i] + window; to[i] = (TYPE)(EXPRESSION); } } while (0)
    /* How far apart the packets are if that is the same for all of them, else 0. */
    static int64_t framecodec_stride(const uint8_t** packets, int64_t count) {
        int64_t i, stride = count > 1 ? packets[1] - packets[0] : 0;
        for (i = 2; i < count; i++) if (packets[i] - packets[i - 1] != stride) return 0;
        return stride;
    }
    static void framecodec_fill(uint8_t* out, int bytes, const uint8_t** restrict packets, int64_t stride, int64_t count,
                                int64_t window, int lead, int width, int is_signed) {
        int shift = 64 - width;
        if ((lead & 7) == 0 && width == 8 * bytes) {
            window += lead >> 3;
            if (bytes == 1) FRAMECODEC_LOOP(uint8_t, *at);
            else if (bytes == 2) FRAMECODEC_LOOP(uint16_t, framecodec_be16(at));
            else if (bytes == 4) FRAMECODEC_LOOP(uint32_t, framecodec_be32(at));
            else FRAMECODEC_LOOP(uint64_t, framecodec_be64(at));
        } else if (is_signed) {
            if (bytes == 1) FRAMECODEC_LOOP(int8_t, (int64_t)(framecodec_be64(at) << lead) >> shift);
            else if (bytes == 2) FRAMECODEC_LOOP(int16_t, (int64_t)(framecodec_be64(at) << lead) >> shift);
            else if (bytes == 4) FRAMECODEC_LOOP(int32_t, (int64_t)(framecodec_be64(at) << lead) >> shift);
            else FRAMECODEC_LOOP(int64_t, (int64_t)(framecodec_be64(at) << lead) >> shift);
        } else {
            if (bytes == 1) FRAMECODEC_LOOP(uint8_t, (framecodec_be64(at) << lead) >> shift);
            else if (bytes == 2) FRAMECODEC_LOOP(uint16_t, (framecodec_be64(at) << lead) >> shift);
            else if (bytes == 4) FRAMECODEC_LOOP(uint32_t, (framecodec_be64(at) << lead) >> shift);
            else FRAMECODEC_LOOP(uint64_t, (framecodec_be64(at) << lead) >> shift);
        }
    }
    /* A polynomial over a column: Horner's rule, coefficients by rising power. */
    #define FRAMECODEC_HORNER(TYPE) do { const TYPE* restrict x = (const TYPE*)raw; \\
        if (terms == 2) { double a = c[0], b = c[1]; for (int64_t i = 0; i < count; i++) out[i] = b * (double)x[i] + a; } \\
        else for (int64_t i = 0; i < count; i++) { double v = (double)x[i], y = c[terms - 1]; \\
            for (int t = terms - 2; t >= 0; t--) { y = y * v + c[t]; } out[i] = y; } } while (0)
    static void framecodec_horner(double* restrict out, const void* raw, int bytes, int is_unsigned, int is_real, int64_t count,
                                  const double* c, int terms) {
        if (is_real) { if (bytes == 4) FRAMECODEC_HORNER(float); else FRAMECODEC_HORNER(double); }
        else if (is_unsigned) {
            if (bytes == 1) FRAMECODEC_HORNER(uint8_t); else if (bytes == 2) FRAMECODEC_HORNER(uint16_t);
            else if (bytes == 4) FRAMECODEC_HORNER(uint32_t); else FRAMECODEC_HORNER(uint64_t);
        } else {
            if (bytes == 1) FRAMECODEC_HORNER(int8_t); else if (bytes == 2) FRAMECODEC_HORNER(int16_t);
            else if (bytes == 4) FRAMECODEC_HORNER(int32_t); else FRAMECODEC_HORNER(int64_t);
        }
    }
    """
    void fill_column "framecodec_fill"(
        uint8_t* out, int bytes, const uint8_t** packets, int64_t stride, int64_t count,
        int64_t window, int lead, int width, bint is_signed,
    ) noexcept nogil
    int64_t stride_of "framecodec_stride"(const uint8_t** packets, int64_t count) noexcept nogil
    void horner "framecodec_horner"(
        double* out, const void* raw, int bytes, bint is_unsigned, bint is_real, int64_t count,
        const double* coefficients, int terms,
    ) noexcept nogil


cdef void read_columns(
    Machine* machine, const LayoutC* layout, const uint8_t** packets, int64_t count, int64_t row,
) noexcept nogil:
    cdef int number
    cdef int64_t stride = stride_of(packets, count)
    for number in range(layout.fixed_count):
        if layout.fixed[number].cell >= 0:
            run_column(machine, <Tree> layout.tree, &layout.fixed[number], layout.fixed_bytes, packets, stride, count, row)


cdef void run_column(
    Machine* machine, Tree tree, const FixedC* fixed, int64_t fixed_bytes, const uint8_t** packets, int64_t stride,
    int64_t count, int64_t row,
) noexcept nogil:
    cdef Cells* cells = &tree.cells[fixed.cell]
    cdef FieldC* field = &machine.fields[fixed.field]
    cdef Value value
    cdef int64_t index, bit
    if tree.tracks_valid:
        memset(cells.valid + row, 1, count)
    if fixed.window < 0:
        for index in range(count):
            bit = fixed.bit
            tree.domains[0].current = row + index
            if read_value(machine, field, packets[index], fixed_bytes, &bit, &value) != OK or value.kind == VALUE_NONE:
                tree.track()
                cells.valid[row + index] = 0
                continue
            finish(machine, field, &value)
            store_value(machine, tree, fixed.cell, field, &value)
        return
    fill_column(
        cells.raw + row * cells.raw_bytes, cells.raw_bytes, packets, stride, count,
        fixed.window, fixed.lead, fixed.width, fixed.is_signed,
    )
    if cells.value_bytes >= 0:
        make_column(machine, tree, cells, field, row, count)


cdef void make_column(
    Machine* machine, Tree tree, Cells* cells, const FieldC* field, int64_t row, int64_t count,
) noexcept nogil:
    cdef double* out = <double*> cells.value
    cdef Value value
    cdef int64_t index
    if field.making == MAKE_POLYNOMIAL:
        horner(
            out + row, cells.raw + row * cells.raw_bytes, cells.raw_bytes, field.is_unsigned, field.coding >= IEEE754, count,
            &machine.numbers[machine.calibrators[field.calibrator].start], machine.calibrators[field.calibrator].count,
        )
        if tree.tracks_valid or not cells.is_total:
            memset(cells.value_valid + row, 1, count)
        return
    for index in range(row, row + count):
        load_cell(cells, field, index, &value)
        finish(machine, field, &value)
        if not value.has_value:
            continue
        cells.value_valid[index] = 1
        if field.making == MAKE_LABEL:
            (<int32_t*> cells.value)[index] = value.label
        elif field.making == MAKE_TIME:
            (<int64_t*> cells.value)[index] = value.time_ns
        else:
            out[index] = value.value
