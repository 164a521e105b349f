# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A batch of SAMPLES as the columns that windows read, with the numbers that groups and series have for its names."""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from framecodec.arrow cimport ArrowArray, ArrowSchema, is_name
from framecodec.cells cimport OUT_OF_MEMORY
from framecodec.columns cimport Names
from framecodec.groups cimport Group, Groups
from framecodec.records cimport SAMPLE_ENTITY, SAMPLE_KIND, SAMPLE_METRIC, SAMPLE_TIME, SAMPLE_VALUE

cdef enum:
    KNOWN_MIN = 65536


cdef check_samples(ArrowSchema* schema):
    """ValueError unless the struct has the columns of SAMPLES where this module reads them."""
    cdef int number
    cdef const ArrowSchema* column
    wanted = (
        (SAMPLE_TIME, b"time", b"tsn:UTC"), (SAMPLE_ENTITY, b"entity", b"name"), (SAMPLE_METRIC, b"metric", b"name"),
        (SAMPLE_VALUE, b"value", b"g"), (SAMPLE_KIND, b"kind", b"name"),
    )
    for number, name, form in wanted:
        column = schema.children[number] if number < schema.n_children else NULL
        if column == NULL or column.name != name or not (is_name(column) if form == b"name" else column.format == form):
            raise ValueError(f"not a batch of SAMPLES: column {number} is not {name.decode()} ({form.decode()})")


cdef int open_samples(SampleColumns* samples, ArrowArray* array, Groups groups) noexcept nogil:
    cdef ArrowArray* entities = array.children[SAMPLE_ENTITY].dictionary
    cdef ArrowArray* metrics = array.children[SAMPLE_METRIC].dictionary
    cdef int64_t pairs = entities.length * metrics.length
    cdef int64_t entry
    memset(samples, 0, sizeof(SampleColumns))
    samples.length = array.length
    samples.times = column_of(array, SAMPLE_TIME, 8)
    samples.entities = column_of(array, SAMPLE_ENTITY, 4)
    samples.metrics = column_of(array, SAMPLE_METRIC, 4)
    samples.values = column_of(array, SAMPLE_VALUE, 8)
    samples.kinds = column_of(array, SAMPLE_KIND, 4)
    samples.counter_kind = <int32_t> find_entry(array.children[SAMPLE_KIND].dictionary, b"counter", 7)
    samples.metric_count = metrics.length
    samples.entity_ids = intern_dictionary(groups.names, entities)
    samples.metric_ids = intern_dictionary(groups.names, metrics)
    samples.groups = <Group**> malloc((entities.length + 1) * sizeof(Group*))
    if samples.entity_ids == NULL or samples.metric_ids == NULL or samples.groups == NULL or groups.grow_names() < 0:
        return OUT_OF_MEMORY
    if pairs <= 4 * array.length + KNOWN_MIN:
        samples.known = <uint32_t*> calloc(pairs + 1, sizeof(uint32_t))
    for entry in range(entities.length):
        samples.groups[entry] = groups.group_of_entity(samples.entity_ids[entry])
        if samples.groups[entry] == NULL:
            return OUT_OF_MEMORY
    return 0

cdef void close_samples(SampleColumns* samples) noexcept nogil:
    free(samples.entity_ids)
    free(samples.metric_ids)
    free(samples.groups)
    free(samples.known)


cdef Column column_of(ArrowArray* array, int number, int width_bytes) noexcept nogil:
    cdef ArrowArray* child = array.children[number]
    cdef Column column
    column.first = child.offset + array.offset
    column.valid = <const uint8_t*> child.buffers[0] if child.null_count != 0 else NULL
    column.values = <const uint8_t*> child.buffers[1] + column.first * width_bytes
    return column

# The number in `names` of each entry of a dictionary column; NULL when out of memory.
cdef int32_t* intern_dictionary(Names names, ArrowArray* dictionary) noexcept nogil:
    cdef const int32_t* ends = <const int32_t*> dictionary.buffers[1]
    cdef const uint8_t* text = <const uint8_t*> dictionary.buffers[2]
    cdef int32_t* ids = <int32_t*> malloc((dictionary.length + 1) * sizeof(int32_t))
    cdef int64_t entry
    if ids == NULL:
        return NULL
    for entry in range(dictionary.length):
        ids[entry] = names.intern(
            text + ends[dictionary.offset + entry],
            ends[dictionary.offset + entry + 1] - ends[dictionary.offset + entry],
        )
        if ids[entry] < 0:
            free(ids)
            return NULL
    return ids

cdef int64_t find_entry(ArrowArray* dictionary, const char* word, int size) noexcept nogil:
    cdef const int32_t* ends = <const int32_t*> dictionary.buffers[1]
    cdef const char* text = <const char*> dictionary.buffers[2]
    cdef int64_t entry
    cdef int index
    for entry in range(dictionary.offset, dictionary.offset + dictionary.length):
        if ends[entry + 1] - ends[entry] != size:
            continue
        index = 0
        while index < size and text[ends[entry] + index] == word[index]:
            index += 1
        if index == size:
            return entry - dictionary.offset
    return -1
