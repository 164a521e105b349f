# A batch of SAMPLES as the columns that windows read; borrowed from the batch until close_samples.
from framecodec.arrow cimport ArrowArray, ArrowSchema
from framecodec.groups cimport Group, Groups
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t


# values[row] is that of the batch's row; `valid` is NULL where no value is missing, and starts `first` bits before row 0.
cdef struct Column:
    const uint8_t* valid
    const void* values
    int64_t first

cdef struct SampleColumns:
    int64_t length
    Column times, entities, metrics, values, kinds
    int32_t counter_kind
    int64_t metric_count
    int32_t* entity_ids              # by entry of the batch's dictionaries: the number in Groups.names
    int32_t* metric_ids
    Group** groups                   # by entry of the entities
    # Number of the series + 1 by (entity, metric) of this batch, so that most rows need no hashing; NULL: too many pairs.
    uint32_t* known


cdef inline bint is_valid(Column* column, int64_t row) noexcept nogil:
    return column.valid == NULL or (column.valid[(row + column.first) >> 3] >> ((row + column.first) & 7)) & 1

# ValueError unless the struct has the columns of SAMPLES where they are read.
cdef check_samples(ArrowSchema* schema)
# 0 or OUT_OF_MEMORY; close_samples follows either way.
cdef int open_samples(SampleColumns* samples, ArrowArray* array, Groups groups) noexcept nogil
cdef void close_samples(SampleColumns* samples) noexcept nogil
