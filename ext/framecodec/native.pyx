# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""ClickHouse Native blocks from Arrow record batches.

    encoder = BlockEncoder([("time", "DateTime64(9, 'UTC')"), ("entity", "LowCardinality(String)"), ...],
                           identity=("partition", "offset", "position"), order=RowOrder(...))
    block = encoder.encode(batch, [(0, 3, 1234, 0)])      # row 0 and all after it are record 1234 of partition 3

A block is what `INSERT INTO t FORMAT Native` takes: number of columns, number of rows, then for each column its name, its
type and its values, column by column (https://clickhouse.com/docs/interfaces/formats/Native; revision 0, thus without
block info; the layout of LowCardinality from memory of SerializationLowCardinality.cpp, held to the engine by
tests/test_native.py). Blocks may be put one after another.

The size is counted first, so that the block is written once into the bytes object that leaves. Every byte is copied half a
dozen times on its way into a table, so what the table would say anyway stays away: a nullable column without a value, a
column of zeros (the tables' defaults are NULL and 0), and the null map of a column without nulls (the engine casts it to
Nullable). Rows leave in the order of the table's key, which the table then need not find by itself.
Blocks know nothing of connections or retries.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_GetPointer
from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.native_values cimport (
    BAD_INDEX, FORM_FIXED, FORM_LIST, FORM_MAP, FORM_NAME, FORM_SECONDS, FORM_STRING, OK, Column, Run, Source, Status,
    advise_huge, constants_bytes, measure, put_varint, resolve, varint_bytes, write, write_constants, write_positions,
)
from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy

# ClickHouse type: the Arrow format it is written from, and its bytes
# (https://arrow.apache.org/docs/format/CDataInterface.html).
FIXED = {
    "Int8": ("c", 1), "UInt8": ("C", 1), "Int16": ("s", 2), "UInt16": ("S", 2), "Int32": ("i", 4), "UInt32": ("I", 4),
    "Int64": ("l", 8), "UInt64": ("L", 8), "Float32": ("f", 4), "Float64": ("g", 8), "IPv6": ("w:16", 16),
    "DateTime64(9, 'UTC')": ("tsn:UTC", 8), "DateTime64(6, 'UTC')": ("tsu:UTC", 8), "DateTime64(3, 'UTC')": ("tsm:UTC", 8),
}


cdef class BlockEncoder:
    """Encodes batches whose columns are exactly `columns`: (name, ClickHouse type) in the order of the batch.

    Types: the fixed ones of FIXED, DateTime('UTC') (from seconds), FixedString(N) (from binary(N)), IPv6 (from
    binary(16)), String (from utf8 or binary), LowCardinality(String) (from dictionary<int32, utf8>), each also Nullable;
    Array(T) and Map(K, V) of fixed types and String. ValueError for another type.

    `identity` names three more columns: partition and offset of the Kafka record that a row came in, sent as dictionaries,
    and UInt32 position, the row's number in it. `order`: a framecodec.order.RowOrder that says in which order rows are sent.
    """

    cdef Column* columns
    cdef Source* sources
    cdef int column_count
    cdef list names
    cdef list formats
    cdef list heads              # keeps the bytes alive that Column.head points into
    cdef list identity_heads
    cdef object order

    def __cinit__(self, columns, identity=None, order=None):
        self.column_count = len(columns)
        self.names, self.formats, self.heads, self.identity_heads = [], [], [], []
        self.order = order
        self.columns = <Column*> calloc(self.column_count + 1, sizeof(Column))
        self.sources = <Source*> calloc(self.column_count + 1, sizeof(Source))
        if self.columns == NULL or self.sources == NULL:
            raise MemoryError
        for index, (name, type_name) in enumerate(columns):
            self.names.append(name)
            self.formats.append(parse_type(type_name, &self.columns[index]))
            plain_type = (
                type_name.removeprefix("Nullable(").removesuffix(")") if type_name.startswith("Nullable(") else type_name
            )
            head, plain_head = head_of(name, type_name), head_of(name, plain_type)
            self.heads += [head, plain_head]
            self.columns[index].head = <const uint8_t*> PyBytes_AS_STRING(head)
            self.columns[index].head_bytes = PyBytes_GET_SIZE(head)
            self.columns[index].plain_head = <const uint8_t*> PyBytes_AS_STRING(plain_head)
            self.columns[index].plain_head_bytes = PyBytes_GET_SIZE(plain_head)
        if identity is not None:
            for name, type_name in zip(identity, ("LowCardinality(UInt64)", "LowCardinality(UInt64)", "UInt32"), strict=True):
                self.identity_heads.append(head_of(name, type_name))

    def __dealloc__(self):
        free(self.columns)
        free(self.sources)

    def encode(self, batch, runs=((0, 0, 0, 0),)) -> bytes:
        """One block: an object with `__arrow_c_array__` whose columns are those of this encoder; b"" for no rows.

        `runs`: (first row, partition, offset, position of that row), the first with row 0, rows ascending.
        TypeError where the batch has other columns, ValueError where its indices or offsets point outside (buffers
        themselves are trusted, as everywhere in Arrow: `batch.validate(full=True)` is for those who cannot).
        """
        schema_capsule, array_capsule = batch.__arrow_c_array__()
        cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(schema_capsule, "arrow_schema")
        cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(array_capsule, "arrow_array")
        cdef size_t size
        cdef int index, present
        cdef uint8_t* place
        cdef int64_t rows = array.length
        cdef const uint32_t* order = NULL
        cdef Identity identity
        self.check(schema)
        if rows == 0:
            return b""
        size = self.block_bytes(array, &present)
        if self.identity_heads:
            present += len(self.identity_heads)
            size += sum(len(head) for head in self.identity_heads) + 2 * constants_bytes(rows, len(runs)) + rows * 4
            identity = Identity(runs, rows)
        size += varint_bytes(present) + varint_bytes(rows)
        numbers = None if self.order is None else self.order.find(batch)
        if numbers is not None:
            order = <const uint32_t*> PyBytes_AS_STRING(numbers)
        block = PyBytes_FromStringAndSize(NULL, size)
        place = <uint8_t*> PyBytes_AS_STRING(block)
        with nogil:
            advise_huge(place, size)
            place = put_varint(place, present)
            place = put_varint(place, rows)
            for index in range(self.column_count):
                if not self.sources[index].absent:
                    place = put_head(&self.columns[index], self.sources[index].plain, place)
                    place = write(&self.columns[index], &self.sources[index], rows, order, place)
        if self.identity_heads:
            place = identity.put(place, self.identity_heads, rows, order)
        assert place == <uint8_t*> PyBytes_AS_STRING(block) + size, "a block of another size than was counted"
        return block

    # Fills `sources`; returns the bytes of heads and values, and how many columns have any.
    cdef size_t block_bytes(self, const ArrowArray* array, int* present) except? 0:
        cdef bint has_identity = len(self.identity_heads) > 0
        cdef size_t size = 0, needed
        cdef int index = 0, failed = -1
        cdef Status status = OK
        present[0] = 0
        with nogil:
            for index in range(self.column_count):
                # A block needs a column to have rows.
                resolve(&self.columns[index], array, index, index > 0 or has_identity, &self.sources[index])
                if self.sources[index].absent:
                    continue
                status = measure(&self.columns[index], &self.sources[index], array.length, &needed)
                if status != OK:
                    failed = index
                    break
                size += self.columns[index].plain_head_bytes if self.sources[index].plain else self.columns[index].head_bytes
                size += needed
                present[0] += 1
        if status != OK:
            raise ValueError(self.complaint(status, failed))
        return size

    cdef check(self, const ArrowSchema* schema):
        cdef int index
        if schema.format != b"+s":
            raise TypeError(f"expected a record batch, got Arrow format '{schema.format.decode()}'")
        found = [
            (schema.children[index].name.decode(), format_of(schema.children[index])) for index in range(schema.n_children)
        ]
        expected = list(zip(self.names, self.formats, strict=True))
        if [name for name, _ in found] != self.names:
            raise TypeError(f"expected the columns {', '.join(self.names)}, got {', '.join(name for name, _ in found)}")
        for (name, form), (_, wanted) in zip(found, expected, strict=True):
            if form not in wanted:
                raise TypeError(f"column '{name}': expected Arrow format {' or '.join(wanted)}, got {form}")

    cdef complaint(self, Status status, int index):
        if status == BAD_INDEX:
            return f"column '{self.names[index]}': an index outside its dictionary"
        return f"column '{self.names[index]}': offsets that go backwards"


def parse_leaf(type_name):
    """(form, bytes, Arrow formats) of a type that stands in one buffer, or in two."""
    if type_name in FIXED:
        form, size = FIXED[type_name]
        return FORM_FIXED, size, (form,)
    if type_name == "DateTime('UTC')":
        return FORM_SECONDS, 4, ("tss:UTC",)
    if type_name == "String":
        return FORM_STRING, 0, ("u", "z")
    if type_name.startswith("FixedString("):
        size = int(type_name.removeprefix("FixedString(").removesuffix(")"))
        return FORM_FIXED, size, (f"w:{size}",)
    raise ValueError(f"no Native encoding for the type {type_name}")


cdef parse_type(str type_name, Column* column):
    cdef str inner = type_name
    for prefix in ("LowCardinality(", "Nullable("):
        if inner.startswith(prefix):
            inner = inner.removeprefix(prefix).removesuffix(")")
            column.nullable |= prefix == "Nullable("
    if type_name.startswith("LowCardinality("):
        if inner != "String":
            raise ValueError(f"no Native encoding for the type {type_name}")
        column.form = FORM_NAME
        return ("i{u}",)
    if type_name.startswith("Array("):
        column.form = FORM_LIST
        column.first.form, column.first.item_bytes, forms = parse_leaf(type_name.removeprefix("Array(").removesuffix(")"))
        return tuple(f"+l[{form}]" for form in forms)
    if type_name.startswith("Map("):
        key, value = type_name.removeprefix("Map(").removesuffix(")").split(", ", 1)
        column.form = FORM_MAP
        column.first.form, column.first.item_bytes, keys = parse_leaf(key)
        column.second.form, column.second.item_bytes, values = parse_leaf(value)
        return tuple(f"+m[{one}{two}]" for one in keys for two in values)
    column.first.form, column.first.item_bytes, forms = parse_leaf(inner)
    column.form = column.first.form
    return forms


cdef str format_of(const ArrowSchema* schema):
    """An Arrow format with its children: `i{u}` a dictionary, `+l[I]` a list, `+m[sI]` a map."""
    cdef str form = schema.format.decode()
    if schema.dictionary != NULL:
        return form + "{" + format_of(schema.dictionary) + "}"
    if form == "+l" and schema.n_children == 1:
        return f"+l[{format_of(schema.children[0])}]"
    if form == "+m" and schema.n_children == 1 and schema.children[0].n_children == 2:
        return f"+m[{format_of(schema.children[0].children[0])}{format_of(schema.children[0].children[1])}]"
    return form


cdef bytes head_of(str name, str type_name):
    cdef bytes head = b""
    cdef uint8_t text[10]
    for part in (name.encode(), type_name.encode()):
        head += PyBytes_FromStringAndSize(<char*> text, put_varint(text, len(part)) - text) + part
    return head


cdef uint8_t* put_head(const Column* column, bint plain, uint8_t* place) noexcept nogil:
    if plain:
        memcpy(place, column.plain_head, column.plain_head_bytes)
        return place + column.plain_head_bytes
    memcpy(place, column.head, column.head_bytes)
    return place + column.head_bytes


# Which Kafka record each row came in.
cdef class Identity:
    cdef Run* runs
    cdef int64_t run_count
    cdef uint32_t* run_of        # by row; NULL where there is one run only

    def __cinit__(self, runs, int64_t rows):
        cdef int64_t run = 0, row
        self.run_count = len(runs)
        self.runs = <Run*> calloc(self.run_count, sizeof(Run))
        if self.run_count > 1:
            self.run_of = <uint32_t*> malloc(rows * sizeof(uint32_t))
        if self.runs == NULL or (self.run_count > 1 and self.run_of == NULL):
            raise MemoryError
        for index, (start, partition, offset, first_position) in enumerate(runs):
            self.runs[index] = Run(start, partition, offset, first_position)
        if self.run_count > 1:
            for row in range(rows):
                while run + 1 < self.run_count and self.runs[run + 1].start <= row:
                    run += 1
                self.run_of[row] = <uint32_t> run

    def __dealloc__(self):
        free(self.runs)
        free(self.run_of)

    cdef uint8_t* put(self, uint8_t* place, list heads, int64_t rows, const uint32_t* order):
        cdef bint of_offsets
        for index, head in enumerate(heads):
            memcpy(place, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
            place += PyBytes_GET_SIZE(head)
            if index < 2:
                of_offsets = index == 1
                place = write_constants(self.runs, self.run_count, of_offsets, rows, order, self.run_of, place)
            else:
                place = write_positions(self.runs, self.run_count, rows, order, self.run_of, place)
        return place
