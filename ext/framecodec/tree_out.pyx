# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Trees on their way out to an Arrow library: record batches of `packet`, `raw` and `values`.

    batch = TreeLayout(tree).take_out()          # a framecodec.arrow_out.Batch; the tree is empty afterwards

Nothing is copied but the marks of what is there, which become bits. `raw` and `values` share their buffers where a parameter is
not calibrated, and all batches share the labels of enumerations: buffers are counted blocks (framecodec.blocks).
"""
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.string cimport memchr, memcpy

from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.arrow_out cimport (
    ARROW_FLAG_NULLABLE, Batch, Block, Layout, append_child, new_array, new_block, new_dictionary, new_schema, pack_bits,
)
from framecodec.blocks cimport drop_block, resized, use_block
from framecodec.trees cimport Cells, Tree


cdef class Labels:
    def __cinit__(self, words):
        cdef bytes encoded
        cdef int32_t at = 0
        self.ends = <int32_t*> resized(NULL, (len(words) + 1) * sizeof(int32_t))
        self.text = <uint8_t*> resized(NULL, sum(len(word.encode()) for word in words) + 1)
        if self.ends == NULL or self.text == NULL:
            raise MemoryError
        self.ends[0], self.count = 0, len(words)
        for index, word in enumerate(words):
            encoded = word.encode()
            memcpy(self.text + at, <char*> encoded, len(encoded))
            at += <int32_t> len(encoded)
            self.ends[<int> index + 1] = at

    def __dealloc__(self):
        drop_block(self.ends)
        drop_block(self.text)

    cdef append_to(self, Block* block, ArrowArray* array):
        array.dictionary = new_array(block, self.count, 3, 0)
        array.dictionary.buffers[1], array.dictionary.buffers[2] = used(self.ends), used(self.text)


cdef class TreeLayout(Layout):
    """What batches of `tree` look like: its columns twice, raw and calibrated, in structs beside the number of the packet."""

    def __init__(self, Tree tree):
        super().__init__(())
        self.tree = tree
        self.labels = [Labels(words) if value == "label" else None for _, value, words in tree.formats]
        self.array_count, self.pointer_count = 4, 8
        for column in tree.columns:
            self.count(column)

    # A scalar has three buffers at most, its parent a pointer to it; both come twice, and labels are an array of their own.
    cdef count(self, column):
        self.array_count += 3
        self.pointer_count += 2 * 4 + 3
        for member in column.members:
            self.count(member)

    cdef export(self, ArrowSchema* schema):
        cdef int half, number
        new_schema(schema, b"+s", b"", 0, 3)
        new_schema(schema.children[0], b"l", b"packet", 0, 0)
        for half, name in enumerate((b"raw", b"values")):
            new_schema(schema.children[1 + half], b"+s", name, 0, len(self.tree.columns))
            for number, column in enumerate(self.tree.columns):
                self.export_column(column, half == 1, schema.children[1 + half].children[number])

    cdef export_column(self, column, bint is_value, ArrowSchema* schema):
        cdef int number
        cdef bytes name = column.name.encode()
        if column.scalar >= 0:
            raw, value, _ = self.tree.formats[column.scalar]
            form = value if is_value and value else raw
            new_schema(schema, b"i" if form == "label" else form.encode(), name, ARROW_FLAG_NULLABLE, 0)
            if form == "label":
                new_dictionary(schema)
        elif column.list_domain >= 0:
            new_schema(schema, b"+l", name, ARROW_FLAG_NULLABLE, 1)
            self.export_column(column.members[0], is_value, schema.children[0])
        else:
            new_schema(schema, b"+s", name, ARROW_FLAG_NULLABLE, len(column.members))
            for number, member in enumerate(column.members):
                self.export_column(member, is_value, schema.children[number])

    cdef Batch take_out(self):
        cdef Batch batch = Batch.__new__(Batch)
        cdef Tree tree = self.tree
        cdef int64_t length = tree.domains[0].length
        cdef int half
        cdef Block* block
        cdef ArrowArray* part
        if tree.close() < 0:
            raise MemoryError
        block = new_block(self.array_count, self.pointer_count)
        block.drop = drop_block
        try:
            batch.array = new_array(block, length, 1, 3)[0]
            batch.length, batch.layout = length, self
            part = new_array(block, length, 2, 0)
            append_child(&batch.array, part)
            part.buffers[1] = used(tree.packets)
            for half in range(2):
                part = new_array(block, length, 1, len(tree.columns))
                append_child(&batch.array, part)
                for column in tree.columns:
                    append_child(part, self.column_array(block, column, half == 1, length))
        finally:
            tree.clear()
        return batch

    # One column, raw or calibrated, of `length` items.
    cdef ArrowArray* column_array(self, Block* block, column, bint is_value, int64_t length) except NULL:
        cdef ArrowArray* array
        cdef int domain = column.list_domain
        if column.scalar >= 0:
            return self.scalar_array(block, column.scalar, is_value, length)
        if domain >= 0:
            array = new_array(block, length, 2, 1)
            array.buffers[1] = used(self.tree.domains[domain].ends)
            length = self.tree.domains[domain].length
        else:
            array = new_array(block, length, 1, len(column.members))
        for member in column.members:
            append_child(array, self.column_array(block, member, is_value, length))
        return array

    cdef ArrowArray* scalar_array(self, Block* block, int cell, bint is_value, int64_t length) except NULL:
        cdef Tree tree = self.tree
        cdef Cells* cells = &tree.cells[cell]
        cdef ArrowArray* array
        if is_value and cells.value_bytes >= 0:
            array = new_array(block, length, 2 if cells.value_bytes else 3, 0)
            if not cells.is_total or tree.has_gaps:
                array.buffers[0] = bitmap(cells.value_valid, length, &array.null_count)
            array.buffers[1] = used(cells.value if cells.value_bytes else <uint8_t*> cells.value_ends)
            if cells.value_bytes == 0:
                array.buffers[2] = used(cells.value_data)
            if self.labels[cell] is not None:
                (<Labels> self.labels[cell]).append_to(block, array)
            return array
        array = new_array(block, length, 2 if cells.raw_bytes else 3, 0)
        if cells.is_optional or tree.has_gaps:
            array.buffers[0] = bitmap(cells.valid, length, &array.null_count)
        array.buffers[1] = used(cells.raw if cells.raw_bytes else <uint8_t*> cells.ends)
        if cells.raw_bytes == 0:
            array.buffers[2] = used(cells.data)
        return array


cdef inline const void* used(void* data) noexcept nogil:
    use_block(data)
    return data


cdef const void* bitmap(const uint8_t* valid, int64_t length, int64_t* null_count) except? NULL:
    cdef uint8_t* bits
    cdef int64_t present
    if length == 0 or memchr(valid, 0, length) == NULL:
        null_count[0] = 0
        return NULL
    bits = <uint8_t*> resized(NULL, (length + 7) // 8)
    if bits == NULL:
        raise MemoryError
    present = pack_bits(valid, length, bits)
    null_count[0] = length - present
    return bits
