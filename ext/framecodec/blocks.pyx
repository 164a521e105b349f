# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Blocks of memory that several columns may share, and that are used again.

Buffers that `raw` and `values` share (most parameters are not calibrated) are not copied: before the data of every block
stands a count of its users, and Arrow's release callbacks count it down, from whatever thread.
"""
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc

cdef extern from *:
    """
    #include <stdlib.h>
    #include <string.h>
    /* Before the data of each block: how many use it, and how much it holds (negative: malloc's, exactly that much).
       Large blocks come in powers of two and are kept when nobody uses them any more, up to FRAMECODEC_IDLE_MAX bytes,
       because fresh pages cost more than writing to them: 1.6 us for 4 KiB on the machine of
       benchmarks/bench_satellite.py, half of all the time. Any thread may give blocks back, so the lists have a lock. */
    typedef struct { int64_t users; int64_t capacity; } framecodec_block;
    #define FRAMECODEC_LARGE 32768
    #define FRAMECODEC_IDLE_MAX (INT64_C(64) << 20)
    #define FRAMECODEC_CLASSES 27
    static void* framecodec_idle[FRAMECODEC_CLASSES];
    static int64_t framecodec_idle_bytes;
    static char framecodec_lock;
    static void framecodec_acquire(void) { while (__atomic_test_and_set(&framecodec_lock, __ATOMIC_ACQUIRE)) {} }
    static void framecodec_release(void) { __atomic_clear(&framecodec_lock, __ATOMIC_RELEASE); }
    static framecodec_block* framecodec_header(void* data) {
        return (framecodec_block*)((char*)data - sizeof(framecodec_block));
    }
    static void framecodec_use(void* data) { __atomic_add_fetch(&framecodec_header(data)->users, 1, __ATOMIC_RELAXED); }
    static int framecodec_class(int64_t size) {
        int order = 15;
        while (order < 63 && (INT64_C(1) << order) < size) order++;
        return order;
    }
    static void framecodec_drop(void* data) {
        framecodec_block* block;
        int order;
        if (!data) return;
        block = framecodec_header(data);
        if (__atomic_sub_fetch(&block->users, 1, __ATOMIC_ACQ_REL)) return;
        order = block->capacity > 0 ? framecodec_class(block->capacity) : FRAMECODEC_CLASSES;
        if (order < FRAMECODEC_CLASSES) {
            framecodec_acquire();
            if (framecodec_idle_bytes + block->capacity <= FRAMECODEC_IDLE_MAX) {
                *(void**)data = framecodec_idle[order];
                framecodec_idle[order] = data;
                framecodec_idle_bytes += block->capacity;
                block = NULL;
            }
            framecodec_release();
        }
        if (block) free(block);
    }
    static void* framecodec_new(int64_t size) {
        framecodec_block* block;
        void* data = NULL;
        int order = size >= FRAMECODEC_LARGE ? framecodec_class(size) : FRAMECODEC_CLASSES;
        if (order < FRAMECODEC_CLASSES) {
            size = INT64_C(1) << order;
            framecodec_acquire();
            if ((data = framecodec_idle[order]) != NULL) {
                framecodec_idle[order] = *(void**)data;
                framecodec_idle_bytes -= size;
            }
            framecodec_release();
        }
        if (data) block = framecodec_header(data);
        else if (!(block = (framecodec_block*)malloc(sizeof(framecodec_block) + (size_t)size))) return NULL;
        block->users = 1;
        block->capacity = order < FRAMECODEC_CLASSES ? size : -size;
        return block + 1;
    }
    static void* framecodec_resize(void* data, int64_t size) {
        int64_t held = 0;
        void* moved;
        if (data) {
            held = framecodec_header(data)->capacity;
            if (held < 0) held = -held;
            if (size <= held) return data;
        }
        if (!(moved = framecodec_new(size))) return NULL;
        if (data) { memcpy(moved, data, (size_t)held); framecodec_drop(data); }
        return moved;
    }
    """
    void use_block_ "framecodec_use"(void* data) nogil
    void drop_block_ "framecodec_drop"(void* data) nogil
    void* resize_block_ "framecodec_resize"(void* data, int64_t size) nogil

cdef enum:
    COUNT_BYTES = 16

cdef void* common_zeros = NULL
cdef int64_t common_zeros_bytes = 0


cdef void* resized(void* data, int64_t size) noexcept nogil:
    return resize_block_(data, size)


cdef int grow(void** data, int64_t size) noexcept nogil:
    cdef void* moved = resize_block_(data[0], size)
    if moved == NULL:
        return -1
    data[0] = moved
    return 0


cdef void drop_block(void* data) noexcept nogil:
    drop_block_(data)


cdef void use_block(void* data) noexcept nogil:
    use_block_(data)


cdef void* zeroed_block(int64_t size) noexcept nogil:
    cdef char* block = <char*> calloc(1, size + COUNT_BYTES)
    if block == NULL:
        return NULL
    (<int64_t*> block)[0], (<int64_t*> block)[1] = 1, -size
    return block + COUNT_BYTES


cdef void* shared_zeros(int64_t size) except? NULL:
    global common_zeros, common_zeros_bytes
    if common_zeros == NULL or size > common_zeros_bytes:
        drop_block_(common_zeros)
        common_zeros_bytes = 2 * size + 4096
        common_zeros = zeroed_block(common_zeros_bytes)
        if common_zeros == NULL:
            raise MemoryError
    use_block_(common_zeros)
    return common_zeros
