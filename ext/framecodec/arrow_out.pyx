# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, auto_pickle=False
"""Rows on their way out to an Arrow library, without a copy (https://arrow.apache.org/docs/format/CDataInterface.html).

    pyarrow.record_batch(batch)        # any library that knows the Arrow PyCapsule interface
    batch.take(FLOWS)                  # the same for pyarrow, without building and reading a schema of 48 fields again

The structs of all arrays of a batch are one block of memory. pyarrow is not needed to build this.
"""
from cpython.pycapsule cimport PyCapsule_GetPointer, PyCapsule_New
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset, strdup

from framecodec.arrow cimport ArrowArray, ArrowSchema

__all__ = ["Batch", "Layout"]

cdef extern from *:
    """
    /* Arrow libraries release arrays on whatever thread, without the GIL. */
    static inline int fc_release_one(int32_t* refs) { return __atomic_sub_fetch(refs, 1, __ATOMIC_ACQ_REL); }
    static uint8_t fc_zeros[1 << 20] __attribute__((aligned(64)));
    """
    int release_one "fc_release_one"(int32_t* refs) noexcept nogil
    const uint8_t* OUR_ZEROS "fc_zeros"

ZEROS = OUR_ZEROS


cdef Block* new_block(int arrays, int pointers) except NULL:
    cdef Block* block = <Block*> calloc(1, sizeof(Block) + arrays * sizeof(ArrowArray) + pointers * sizeof(void*))
    if block == NULL:
        raise MemoryError
    block.drop = free_buffer
    block.arrays = <ArrowArray*> (<char*> block + sizeof(Block))
    block.pointers = <void**> (block.arrays + arrays)
    return block


cdef ArrowArray* new_array(Block* block, int64_t length, int buffers, int children) noexcept nogil:
    cdef ArrowArray* array = &block.arrays[block.used_arrays]
    block.used_arrays += 1
    block.refs += 1
    array.length, array.n_buffers, array.buffers = length, buffers, <const void**> block.pointers + block.used_pointers
    block.used_pointers += buffers
    array.children = <ArrowArray**> block.pointers + block.used_pointers
    block.used_pointers += children
    array.release, array.private_data = release_array, block
    return array


cdef void append_child(ArrowArray* array, ArrowArray* child) noexcept nogil:
    array.children[array.n_children] = child
    array.n_children += 1


cdef void free_buffer(void* buffer) noexcept nogil:
    if buffer != ZEROS:
        free(buffer)


cdef void release_array(ArrowArray* array) noexcept:
    cdef Block* block = <Block*> array.private_data
    cdef int64_t index
    for index in range(array.n_buffers):
        block.drop(<void*> array.buffers[index])
    # A child that somebody took over has no release any more, and lives on with the block.
    for index in range(array.n_children):
        if array.children[index].release != NULL:
            array.children[index].release(array.children[index])
    if array.dictionary != NULL and array.dictionary.release != NULL:
        array.dictionary.release(array.dictionary)
    array.release = NULL
    if release_one(&block.refs) == 0:
        free(block)


# Eight marks at a time: the products gather the lowest bits of eight bytes in the highest byte, as a sum or side by side.
cdef int64_t pack_bits(const uint8_t* marks, int64_t length, uint8_t* bits) noexcept nogil:
    cdef int64_t group, row, present = 0
    cdef uint64_t eight
    for group in range(length >> 3):
        memcpy(&eight, marks + 8 * group, 8)
        present += <int64_t> ((eight * <uint64_t> 0x0101010101010101ULL) >> 56)
        bits[group] = <uint8_t> ((eight * <uint64_t> 0x0102040810204080ULL) >> 56)
    if length & 7:
        bits[length >> 3] = 0
    for row in range(length & ~<int64_t> 7, length):
        present += marks[row]
        bits[row >> 3] |= <uint8_t> (marks[row] << (row & 7))
    return present


cdef class Layout:
    """The fields of record batches: (name, Arrow format, nullable), with `name` for a dictionary of strings, `list:I` and
    `map:s,I` as columns.Rows takes them."""

    def __init__(self, fields):
        self.fields = [(field[0], field[1], field[2]) for field in fields]

    def check(self, schema) -> None:
        """TypeError unless the pyarrow `schema` is of these fields; its metadata is its own."""
        from pyarrow import Schema

        ours = Schema._import_from_c_capsule(schema_capsule(self))
        if not ours.equals(schema):
            raise TypeError(f"these rows are not of that schema but of\n{ours}")
        self.schema = schema

    def arrow_schema(self):
        """The pyarrow.Schema that was checked, or else one made of the fields, once."""
        if self.schema is None:
            from pyarrow import Schema

            self.schema = Schema._import_from_c_capsule(schema_capsule(self))
        return self.schema

    cdef export(self, ArrowSchema* schema):
        export_fields(self.fields, schema)


cdef class Batch:
    """A record batch on its way to an Arrow library: `pyarrow.record_batch(batch)`. It can be taken once."""

    def __cinit__(self):
        memset(&self.array, 0, sizeof(ArrowArray))

    def __dealloc__(self):
        if self.array.release != NULL:
            self.array.release(&self.array)

    def __len__(self):
        return self.length

    def __arrow_c_array__(self, requested_schema=None):
        """Capsules of the Arrow PyCapsule interface; ValueError when the batch was taken before."""
        cdef ArrowArray* array
        if self.array.release == NULL:
            raise ValueError("this batch was taken before")
        schema = schema_capsule(self.layout)
        array = <ArrowArray*> malloc(sizeof(ArrowArray))
        if array == NULL:
            raise MemoryError
        memcpy(array, &self.array, sizeof(ArrowArray))
        self.array.release = NULL
        return schema, PyCapsule_New(array, "arrow_array", drop_array_capsule)

    def take(self, schema=None):
        """A pyarrow.RecordBatch of `schema`, a pyarrow.Schema of the same fields, or of its own without metadata.

        ValueError when the batch was taken before, TypeError when the fields are others (looked at once a schema).
        """
        from pyarrow import RecordBatch

        if self.array.release == NULL:
            raise ValueError("this batch was taken before")
        if schema is None:
            schema = self.layout.arrow_schema()
        elif self.layout.schema is not schema:
            self.layout.check(schema)
        return RecordBatch._import_from_c(<uintptr_t> &self.array, schema)


cdef schema_capsule(Layout layout):
    cdef ArrowSchema* schema = <ArrowSchema*> calloc(1, sizeof(ArrowSchema))
    if schema == NULL:
        raise MemoryError
    capsule = PyCapsule_New(schema, "arrow_schema", drop_schema_capsule)
    layout.export(schema)
    return capsule


cdef export_fields(fields, ArrowSchema* schema):
    cdef ArrowSchema* child
    new_schema(schema, b"+s", b"", 0, len(fields))
    for index, (name, form, nullable) in enumerate(fields):
        child = schema.children[<int> index]
        flags = ARROW_FLAG_NULLABLE if nullable else 0
        label = name.encode()
        if form == "name":
            new_schema(child, b"i", label, flags, 0)
            new_dictionary(child)
        elif form.startswith("list:"):
            new_schema(child, b"+l", label, flags, 1)
            new_schema(child.children[0], form[5:].encode(), b"item", 0, 0)
        elif form.startswith("map:"):
            key, value = form[4:].split(",")
            new_schema(child, b"+m", label, flags, 1)
            new_schema(child.children[0], b"+s", b"entries", 0, 2)
            new_schema(child.children[0].children[0], key.encode(), b"key", 0, 0)
            new_schema(child.children[0].children[1], value.encode(), b"value", 0, 0)
        else:
            new_schema(child, form.encode(), label, flags, 0)


cdef new_schema(ArrowSchema* schema, bytes form, bytes name, int64_t flags, int64_t children):
    cdef int64_t index
    memset(schema, 0, sizeof(ArrowSchema))
    schema.release = release_schema
    schema.format = strdup(form)
    schema.name = strdup(name)
    schema.flags = flags
    if schema.format == NULL or schema.name == NULL:
        raise MemoryError
    if children:
        schema.children = <ArrowSchema**> calloc(children, sizeof(ArrowSchema*))
        if schema.children == NULL:
            raise MemoryError
        for index in range(children):
            schema.children[index] = <ArrowSchema*> calloc(1, sizeof(ArrowSchema))
            if schema.children[index] == NULL:
                raise MemoryError
            schema.n_children += 1


cdef new_dictionary(ArrowSchema* schema):
    schema.dictionary = <ArrowSchema*> calloc(1, sizeof(ArrowSchema))
    if schema.dictionary == NULL:
        raise MemoryError
    new_schema(schema.dictionary, b"u", b"", 0, 0)


cdef void release_schema(ArrowSchema* schema) noexcept:
    cdef int64_t index
    free(<void*> schema.format)
    free(<void*> schema.name)
    for index in range(schema.n_children):
        if schema.children[index].release != NULL:
            schema.children[index].release(schema.children[index])
        free(schema.children[index])
    free(schema.children)
    if schema.dictionary != NULL:
        if schema.dictionary.release != NULL:
            schema.dictionary.release(schema.dictionary)
        free(schema.dictionary)
    schema.release = NULL


cdef void drop_schema_capsule(object capsule) noexcept:
    cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(capsule, "arrow_schema")
    if schema.release != NULL:
        schema.release(schema)
    free(schema)


cdef void drop_array_capsule(object capsule) noexcept:
    cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(capsule, "arrow_array")
    if array.release != NULL:
        array.release(array)
    free(array)
