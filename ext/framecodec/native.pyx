# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""ClickHouse Native blocks from Arrow record batches.

    encoder = BlockEncoder([("time", "DateTime64(9, 'UTC')"), ("entity", "LowCardinality(String)"), ...],
                           identity=("partition", "offset", "position"))
    block = encoder.encode(batch, partition=3, offset=1234)

A block is what `INSERT INTO t FORMAT Native` takes: number of columns, number of rows, then for each column its name, its type and
its values, column by column (https://clickhouse.com/docs/interfaces/formats/Native; revision 0, thus without block
info; the layout of LowCardinality from memory of SerializationLowCardinality.cpp, held to the engine by
tests/test_native.py). Blocks may be put one after another.

The size is counted first, so that the block is written once into the bytes object that leaves. Every byte is copied half a
dozen times on its way into a table, so what the table would say anyway stays away: a nullable column without a value, a
column of zeros (the tables' defaults are NULL and 0), and the null map of a column without nulls (the engine casts it to
Nullable). Blocks know nothing of connections or retries.
"""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.pycapsule cimport PyCapsule_GetPointer
from framecodec.arrow cimport ArrowArray, ArrowSchema
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcmp, memcpy, memset

cdef enum Form:
    FORM_FIXED           # item_bytes a value, as they are
    FORM_SECONDS         # int64 seconds as UInt32, held to its range
    FORM_STRING          # length and bytes
    FORM_NAME            # dictionary and indices
    FORM_LIST            # ends and items
    FORM_MAP             # ends, keys and values

cdef enum Status:
    OK
    BAD_INDEX            # a dictionary index that is not in the dictionary
    BAD_OFFSETS          # ends that go backwards

cdef enum:
    LOW_CARDINALITY_VERSION = 1             # SharedDictionariesWithAdditionalKeys
    LOW_CARDINALITY_FLAGS = 0x200 | 0x400   # the keys stand in this block; the dictionary is new
    CONSTANT_HEAD_BYTES = 5 * 8             # of a dictionary of one UInt64: see put_constant

cdef struct Leaf:
    Form form
    int item_bytes

cdef struct Column:
    Form form
    bint nullable
    Leaf first           # the values; of a list its items, of a map its keys
    Leaf second          # of a map its values
    const uint8_t* head  # name and type, owned by BlockEncoder.heads
    size_t head_bytes
    const uint8_t* plain_head       # the same without Nullable()
    size_t plain_head_bytes

# One column of one batch, resolved: where its rows begin and what of it is sent.
cdef struct Source:
    const ArrowArray* array
    int64_t first        # first row, all offsets added
    int64_t nulls
    bint absent          # null or 0 in every row
    bint plain           # of a nullable column: no null, so no null map

# ClickHouse type: the Arrow format it is written from, and its bytes (https://arrow.apache.org/docs/format/CDataInterface.html).
FIXED = {
    "Int8": ("c", 1), "UInt8": ("C", 1), "Int16": ("s", 2), "UInt16": ("S", 2), "Int32": ("i", 4), "UInt32": ("I", 4),
    "Int64": ("l", 8), "UInt64": ("L", 8), "Float32": ("f", 4), "Float64": ("g", 8), "IPv6": ("w:16", 16),
    "DateTime64(9, 'UTC')": ("tsn:UTC", 8), "DateTime64(6, 'UTC')": ("tsu:UTC", 8), "DateTime64(3, 'UTC')": ("tsm:UTC", 8),
}


cdef class BlockEncoder:
    """Encodes batches whose columns are exactly `columns`: (name, ClickHouse type) in the order of the batch.

    Types: the fixed ones of FIXED, DateTime('UTC') (from seconds), FixedString(N) (from binary(N)), IPv6 (from
    binary(16)), String (from utf8 or binary), LowCardinality(String) (from dictionary<int32, utf8>), each also Nullable; Array(T) and
    Map(K, V) of fixed types and String. ValueError for another type.

    `identity` names three more columns: partition and offset, the same in all rows and therefore sent as dictionaries
    of one, and UInt32 position, the row's number counted from `first_position`.
    """

    cdef Column* columns
    cdef Source* sources
    cdef int column_count
    cdef list names
    cdef list formats
    cdef list heads              # keeps the bytes alive that Column.head points into
    cdef list identity_heads

    def __cinit__(self, columns, identity=None):
        self.column_count = len(columns)
        self.names, self.formats, self.heads, self.identity_heads = [], [], [], []
        self.columns = <Column*> calloc(self.column_count + 1, sizeof(Column))
        self.sources = <Source*> calloc(self.column_count + 1, sizeof(Source))
        if self.columns == NULL or self.sources == NULL:
            raise MemoryError
        for index, (name, type_name) in enumerate(columns):
            self.names.append(name)
            self.formats.append(parse_type(type_name, &self.columns[index]))
            plain_type = type_name.removeprefix("Nullable(").removesuffix(")") if type_name.startswith("Nullable(") else type_name
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

    def encode(self, batch, uint32_t partition=0, uint64_t offset=0, uint32_t first_position=0) -> bytes:
        """One block: an object with `__arrow_c_array__` whose columns are those of this encoder; b"" for no rows.

        TypeError where the batch has other columns, ValueError where its indices or offsets point outside (buffers
        themselves are trusted, as everywhere in Arrow: `batch.validate(full=True)` is for those who cannot).
        """
        schema_capsule, array_capsule = batch.__arrow_c_array__()
        cdef ArrowSchema* schema = <ArrowSchema*> PyCapsule_GetPointer(schema_capsule, "arrow_schema")
        cdef ArrowArray* array = <ArrowArray*> PyCapsule_GetPointer(array_capsule, "arrow_array")
        cdef size_t size = 0, needed
        cdef int index, failed = -1, present = 0
        cdef Status status = OK
        cdef uint8_t* place
        cdef int64_t rows = array.length
        cdef bint has_identity = len(self.identity_heads) > 0
        self.check(schema)
        if rows == 0:
            return b""
        with nogil:
            for index in range(self.column_count):
                # A block needs a column to have rows.
                resolve(&self.columns[index], array, index, index > 0 or has_identity, &self.sources[index])
                if self.sources[index].absent:
                    continue
                status = measure(&self.columns[index], &self.sources[index], rows, &needed)
                if status != OK:
                    failed = index
                    break
                size += self.columns[index].plain_head_bytes if self.sources[index].plain else self.columns[index].head_bytes
                size += needed
                present += 1
        if status != OK:
            raise ValueError(self.complaint(status, failed))
        present += len(self.identity_heads)
        for head in self.identity_heads:
            size += PyBytes_GET_SIZE(head)
        if has_identity:
            size += 2 * (CONSTANT_HEAD_BYTES + rows) + rows * 4
        size += varint_bytes(present) + varint_bytes(rows)
        block = PyBytes_FromStringAndSize(NULL, size)
        place = <uint8_t*> PyBytes_AS_STRING(block)
        with nogil:
            place = put_varint(place, present)
            place = put_varint(place, rows)
            for index in range(self.column_count):
                if not self.sources[index].absent:
                    place = put_head(&self.columns[index], self.sources[index].plain, place)
                    place = write(&self.columns[index], &self.sources[index], rows, place)
        if has_identity:
            place = put_identity(place, self.identity_heads, rows, partition, offset, first_position)
        assert place == <uint8_t*> PyBytes_AS_STRING(block) + size, "a block of another size than was counted"
        return block

    cdef check(self, const ArrowSchema* schema):
        cdef int index
        if schema.format != b"+s":
            raise TypeError(f"expected a record batch, got Arrow format '{schema.format.decode()}'")
        found = [(schema.children[index].name.decode(), format_of(schema.children[index])) for index in range(schema.n_children)]
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


cdef uint8_t* put_identity(uint8_t* place, list heads, int64_t rows, uint32_t partition, uint64_t offset, uint32_t first_position):
    cdef int64_t row
    cdef uint32_t position
    for index, head in enumerate(heads):
        memcpy(place, PyBytes_AS_STRING(head), PyBytes_GET_SIZE(head))
        place += PyBytes_GET_SIZE(head)
        if index < 2:
            place = put_constant(place, rows, partition if index == 0 else offset)
            continue
        for row in range(rows):
            position = first_position + <uint32_t> row
            memcpy(place + 4 * row, &position, 4)
        place += 4 * rows
    return place


# LowCardinality(UInt64) of one value: version, flags, one key, the rows and an index of one byte for each.
cdef uint8_t* put_constant(uint8_t* place, int64_t rows, uint64_t value) noexcept nogil:
    place = put_uint64(place, LOW_CARDINALITY_VERSION)
    place = put_uint64(place, LOW_CARDINALITY_FLAGS)
    place = put_uint64(place, 1)
    place = put_uint64(place, value)
    place = put_uint64(place, rows)
    memset(place, 0, rows)
    return place + rows


# Finds a column of the batch and counts its nulls (the producer may have left that to us: -1).
cdef void resolve(const Column* column, const ArrowArray* batch, int index, bint may_be_absent, Source* source) noexcept nogil:
    cdef const ArrowArray* array = batch.children[index]
    cdef int64_t row
    source.array = array
    source.first = batch.offset + array.offset
    source.nulls = 0
    if array.buffers[0] != NULL and array.null_count != 0:
        for row in range(batch.length):
            source.nulls += not is_valid(<const uint8_t*> array.buffers[0], source.first + row)
    source.plain = column.nullable and source.nulls == 0 and column.form != FORM_NAME
    source.absent = may_be_absent and (
        source.nulls == batch.length if column.nullable else is_zero(column, source, batch.length)
    )


# Whether a column of one fixed-width buffer holds nothing but zeros.
cdef bint is_zero(const Column* column, const Source* source, int64_t rows) noexcept nogil:
    cdef int width = 8 if column.form == FORM_SECONDS else column.first.item_bytes
    cdef const uint8_t* values
    cdef int64_t size = rows * width
    if column.form != FORM_FIXED and column.form != FORM_SECONDS or source.nulls:
        return False
    values = <const uint8_t*> source.array.buffers[1] + source.first * width
    # Equal to itself one byte on, and the first byte is 0: memcmp looks at whole words.
    return values[0] == 0 and memcmp(values, values + 1, size - 1) == 0


cdef inline bint is_valid(const uint8_t* bits, int64_t row) noexcept nogil:
    return bits == NULL or (bits[row >> 3] >> (row & 7)) & 1


# The bytes that `write` will need, without the head.
cdef Status measure(const Column* column, const Source* source, int64_t rows, size_t* size) noexcept nogil:
    cdef const int32_t* ends
    cdef const ArrowArray* entries
    cdef int64_t items
    cdef size_t more = 0
    cdef Status status = OK
    size[0] = 0
    if column.form == FORM_NAME:
        return measure_names(column, source, rows, size)
    if column.form == FORM_LIST or column.form == FORM_MAP:
        ends = <const int32_t*> source.array.buffers[1] + source.first
        items = ends[rows] - ends[0]
        if not ascends(ends, rows):
            return BAD_OFFSETS
        size[0] = 8 * rows
        entries = source.array.children[0]
        if column.form == FORM_LIST:
            status = measure_leaf(&column.first, entries, entries.offset + ends[0], items, &more)
            size[0] += more
        else:
            status = measure_leaf(&column.first, entries.children[0], entries.offset + entries.children[0].offset + ends[0], items, &more)
            size[0] += more
            if status == OK:
                status = measure_leaf(
                    &column.second, entries.children[1], entries.offset + entries.children[1].offset + ends[0], items, &more
                )
                size[0] += more
        return status
    status = measure_leaf(&column.first, source.array, source.first, rows, size)
    if column.nullable and not source.plain:
        size[0] += rows
    return status


cdef Status measure_leaf(const Leaf* leaf, const ArrowArray* array, int64_t first, int64_t rows, size_t* size) noexcept nogil:
    cdef const int32_t* ends
    cdef int64_t row
    if leaf.form != FORM_STRING:
        size[0] = <size_t> rows * leaf.item_bytes
        return OK
    size[0] = 0
    if rows == 0:
        return OK
    ends = <const int32_t*> array.buffers[1] + first
    if not ascends(ends, rows):
        return BAD_OFFSETS
    for row in range(rows):
        size[0] += varint_bytes(ends[row + 1] - ends[row])
    size[0] += ends[rows] - ends[0]
    return OK


cdef Status measure_names(const Column* column, const Source* source, int64_t rows, size_t* size) noexcept nogil:
    cdef const ArrowArray* dictionary = source.array.dictionary
    cdef const int32_t* ids = <const int32_t*> source.array.buffers[1] + source.first
    cdef const uint8_t* valid = <const uint8_t*> source.array.buffers[0] if source.nulls else NULL
    cdef Leaf text
    cdef size_t keys_bytes
    cdef int64_t row
    cdef uint32_t highest = 0
    cdef Status status
    text.form = FORM_STRING
    for row in range(rows):
        # As unsigned, a negative id is too high as well.
        if <uint32_t> ids[row] > highest and is_valid(valid, source.first + row):
            highest = <uint32_t> ids[row]
    if rows > source.nulls and highest >= dictionary.length:
        return BAD_INDEX
    status = measure_leaf(&text, dictionary, dictionary.offset, dictionary.length, &keys_bytes)
    # Version, flags, number of keys, an empty key in front, the keys, number of rows, indices.
    size[0] = 8 + 8 + 8 + 1 + keys_bytes + 8 + <size_t> rows * index_bytes(dictionary.length + 1)
    return status


cdef inline bint ascends(const int32_t* ends, int64_t rows) noexcept nogil:
    cdef int64_t row
    cdef int32_t backwards = ends[0] < 0
    for row in range(rows):
        backwards |= ends[row + 1] < ends[row]
    return not backwards


cdef inline int index_bytes(int64_t keys) noexcept nogil:
    return 1 if keys <= 0x100 else 2 if keys <= 0x10000 else 4


cdef uint8_t* write(const Column* column, const Source* source, int64_t rows, uint8_t* place) noexcept nogil:
    cdef const int32_t* ends
    cdef const ArrowArray* entries
    cdef const uint8_t* valid
    cdef int64_t row, items, first
    cdef uint64_t end
    if column.form == FORM_NAME:
        return write_names(column, source, rows, place)
    if column.form == FORM_LIST or column.form == FORM_MAP:
        ends = <const int32_t*> source.array.buffers[1] + source.first
        items = ends[rows] - ends[0]
        for row in range(rows):
            end = ends[row + 1] - ends[0]
            memcpy(place + 8 * row, &end, 8)
        place += 8 * rows
        entries = source.array.children[0]
        if column.form == FORM_LIST:
            return write_leaf(&column.first, entries, entries.offset + ends[0], items, place)
        first = entries.offset + ends[0]
        place = write_leaf(&column.first, entries.children[0], first + entries.children[0].offset, items, place)
        return write_leaf(&column.second, entries.children[1], first + entries.children[1].offset, items, place)
    if column.nullable and not source.plain:
        valid = <const uint8_t*> source.array.buffers[0]
        for row in range(rows):
            place[row] = not is_valid(valid, source.first + row)
        place += rows
    return write_leaf(&column.first, source.array, source.first, rows, place)


cdef uint8_t* write_leaf(const Leaf* leaf, const ArrowArray* array, int64_t first, int64_t rows, uint8_t* place) noexcept nogil:
    cdef const int64_t* seconds
    cdef const int32_t* ends
    cdef const uint8_t* text
    cdef int64_t row, second
    cdef uint32_t held
    cdef size_t size
    if rows == 0:
        return place
    if leaf.form == FORM_FIXED:
        memcpy(place, <const uint8_t*> array.buffers[1] + first * leaf.item_bytes, rows * leaf.item_bytes)
        return place + rows * leaf.item_bytes
    if leaf.form == FORM_SECONDS:
        seconds = <const int64_t*> array.buffers[1] + first
        for row in range(rows):
            second = seconds[row]
            held = 0 if second < 0 else <uint32_t> 0xFFFFFFFF if second > <int64_t> 0xFFFFFFFF else <uint32_t> second
            memcpy(place + 4 * row, &held, 4)
        return place + 4 * rows
    ends = <const int32_t*> array.buffers[1] + first
    text = <const uint8_t*> array.buffers[2]
    for row in range(rows):
        size = ends[row + 1] - ends[row]
        place = put_varint(place, size)
        memcpy(place, text + ends[row], size)
        place += size
    return place


# Index 0 is an empty key: NULL in a nullable column, unused otherwise. So a row's index is its id + 1, or 0.
cdef uint8_t* write_names(const Column* column, const Source* source, int64_t rows, uint8_t* place) noexcept nogil:
    cdef const ArrowArray* dictionary = source.array.dictionary
    cdef const int32_t* ids = <const int32_t*> source.array.buffers[1] + source.first
    cdef const uint8_t* valid = <const uint8_t*> source.array.buffers[0] if source.nulls else NULL
    cdef int width = index_bytes(dictionary.length + 1)
    cdef int64_t row
    cdef uint32_t key
    cdef uint16_t short_key
    cdef Leaf text
    text.form = FORM_STRING
    place = put_uint64(place, LOW_CARDINALITY_VERSION)
    place = put_uint64(place, LOW_CARDINALITY_FLAGS | (0 if width == 1 else 1 if width == 2 else 2))
    place = put_uint64(place, dictionary.length + 1)
    place = put_varint(place, 0)
    place = write_leaf(&text, dictionary, dictionary.offset, dictionary.length, place)
    place = put_uint64(place, rows)
    if valid != NULL:
        for row in range(rows):
            key = <uint32_t> (ids[row] + 1) if is_valid(valid, source.first + row) else 0
            memcpy(place + width * row, &key, width)               # little-endian: its low bytes
    elif width == 1:
        for row in range(rows):
            place[row] = <uint8_t> (ids[row] + 1)
    elif width == 2:
        for row in range(rows):
            short_key = <uint16_t> (ids[row] + 1)
            memcpy(place + 2 * row, &short_key, 2)
    else:
        for row in range(rows):
            key = <uint32_t> (ids[row] + 1)
            memcpy(place + 4 * row, &key, 4)
    return place + width * rows


cdef inline int varint_bytes(uint64_t value) noexcept nogil:
    cdef int size = 1
    while value >= 0x80:
        value >>= 7
        size += 1
    return size


# LEB128, as ClickHouse's writeVarUInt.
cdef inline uint8_t* put_varint(uint8_t* place, uint64_t value) noexcept nogil:
    while value >= 0x80:
        place[0] = <uint8_t> (value | 0x80)
        value >>= 7
        place += 1
    place[0] = <uint8_t> value
    return place + 1


cdef inline uint8_t* put_uint64(uint8_t* place, uint64_t value) noexcept nogil:
    memcpy(place, &value, 8)
    return place + 8
