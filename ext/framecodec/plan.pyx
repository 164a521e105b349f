# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A compiled definition (streams.definitions), running: packets to columns of raw and calibrated values.

    plan = Plan(definition)
    for container, batch in plan.decode(records):            # records: bytes; batch: packet, raw, values
        pyarrow.record_batch(batch)

Two passes. The first decides for every packet which container it is, by the definition's tree of conditions; where only the
packet's first 16 bits (version, type, APID) decide, the answer is remembered for all packets that begin alike. The second
takes the packets of one container together: what stands at a constant place is read column by column over blocks of 256
packets, which stay in the cache; everything else (dynamic sizes, conditions, repeats, strings) is run packet by packet.

A packet that is too short for its container keeps the values that fit. Nothing here knows what a space packet is, beyond
those 16 bits being the same kind of thing for all packets. Time is what the packets say; see `time_of`.
"""
cimport cython
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

from framecodec.column_runs cimport read_columns
from framecodec.conditions cimport holds
from framecodec.layouts cimport (
    NO_CONTAINER, OK, OUT_OF_MEMORY, SCRATCH_BYTES, SHORT, VALUE_NONE, FieldC, LayoutC, LoadC, NodeC, Value, next_packet,
)
from framecodec.meanings cimport finish
from framecodec.programs cimport run_program
from framecodec.raw_values cimport read_value
from framecodec.timecodes cimport NO_TIME, read_code
from framecodec.tree_out cimport TreeLayout
from framecodec.trees cimport Tree

cdef enum:
    BLOCK_PACKETS = 256
    MEMORY_MASK = 0x7FF      # a place for each APID; packets of another version, type or flag may take it over


@cython.final
cdef class Plan:
    """`parameters`: names or paths of those to compute, all if None; ValueError for one that the definition does not have."""

    def __cinit__(self, definition, parameters=None):
        self.definition = definition
        self.texts = []
        self.trees, self.outputs = [], []
        self.machine.stamp = self.slices = 1
        self.memory = <Remembered*> malloc((MEMORY_MASK + 1) * sizeof(Remembered))
        self.machine.scratch = <uint8_t*> malloc(SCRATCH_BYTES)
        self.slot_count = len(definition.slots)
        self.machine.slots = <Value*> calloc(self.slot_count + 1, sizeof(Value))
        if self.memory == NULL or self.machine.scratch == NULL or self.machine.slots == NULL:
            raise MemoryError
        memset(self.memory, 0xFF, (MEMORY_MASK + 1) * sizeof(Remembered))
        from framecodec.planning import build        # it knows Plan, so Plan can know it only now
        build(self, parameters)

    def __dealloc__(self):
        cdef int index
        if self.layouts != NULL:
            for index in range(self.container_count):
                free(self.layouts[index].fixed)
                free(self.layouts[index].tail.steps)
                free(self.layouts[index].full.steps)
        if self.deciding != NULL:
            for index in range(self.layout_count):
                free(self.deciding[index].steps)
        if self.nodes != NULL:
            for index in range(self.node_count):
                free(self.nodes[index].children)
                free(self.nodes[index].loads)
        free(self.machine.fields)
        free(self.machine.labels)
        free(self.machine.label_table)
        free(self.machine.calibrators)
        free(self.machine.numbers)
        free(self.machine.math)
        free(self.machine.tests)
        free(self.machine.condition_start)
        free(self.machine.ranges)
        free(self.machine.expressions)
        free(self.machine.lookups)
        free(self.layouts)
        free(self.deciding)
        free(self.nodes)
        free(self.machine.slots)
        free(self.memory)
        free(self.zeros)
        free(self.machine.scratch)

    def decode(self, records: list[bytes]) -> list:
        """Decode records, each from its first byte: a list of (container index, Batch).

        A batch has the columns `packet` (number of the record), `raw` and `values`. Records that are no container of the
        definition are in none.
        """
        cdef int64_t count = len(records)
        cdef int64_t index
        cdef bytes record
        cdef const uint8_t** packets = <const uint8_t**> malloc((count + 1) * sizeof(uint8_t*))
        cdef int32_t* sizes = <int32_t*> malloc((count + 1) * sizeof(int32_t))
        cdef int32_t* containers = <int32_t*> malloc((count + 1) * sizeof(int32_t))
        cdef int64_t* rows = <int64_t*> malloc((count + 1) * sizeof(int64_t))
        cdef int64_t* numbers = <int64_t*> malloc((count + 1) * sizeof(int64_t))
        cdef uint8_t* shorts = <uint8_t*> malloc(count + 1)
        cdef int status
        try:
            if packets == NULL or sizes == NULL or containers == NULL or rows == NULL or numbers == NULL or shorts == NULL:
                raise MemoryError
            for index in range(count):
                numbers[index] = index
                record = records[index]
                packets[index] = <const uint8_t*> <char*> record
                sizes[index] = <int32_t> len(record)
            with nogil:
                status = self.decode_packets(packets, sizes, count, containers, rows, shorts, numbers)
            if status < 0:
                raise MemoryError
        finally:
            free(packets)
            free(sizes)
            free(containers)
            free(rows)
            free(numbers)
            free(shorts)
        return self.take()

    def take(self) -> list:
        """What was decoded since the last time: (container index, framecodec.arrow_out.Batch) in the definition's order."""
        return [(index, (<TreeLayout> self.outputs[index]).take_out()) for index, tree in enumerate(self.trees) if len(tree)]

    cdef void clear(self) noexcept nogil:
        cdef int index
        for index in range(self.container_count):
            (<Tree> self.layouts[index].tree).clear()

    # -- deciding ------------------------------------------------------------------------------------------------------
    cdef int32_t classify(self, const uint8_t* packet, int64_t size) noexcept nogil:
        cdef int32_t found
        cdef int begins = (packet[0] << 8) | packet[1] if size >= 2 else -1
        if begins >= 0 and self.memory[begins & MEMORY_MASK].begins == begins:
            return self.memory[begins & MEMORY_MASK].container
        next_packet(&self.machine)
        self.consulted_bits = 0
        found = self.descend(0, packet, size)
        if begins >= 0 and self.consulted_bits <= 16:
            self.memory[begins & MEMORY_MASK].begins, self.memory[begins & MEMORY_MASK].container = begins, found
        return found

    cdef int32_t descend(self, int number, const uint8_t* packet, int64_t size) noexcept nogil:
        cdef NodeC* node = &self.nodes[number]
        cdef LoadC* load
        cdef FieldC* field
        cdef Value* slot
        cdef int index
        cdef int32_t found
        cdef int64_t bit
        for index in range(node.load_count):
            load = &node.loads[index]
            if load.bit < 0:
                self.consulted_bits = 0x7FFFFFFF
                run_program(&self.machine, &self.deciding[node.layout], NULL, packet, size)
                break
        for index in range(node.load_count):
            load = &node.loads[index]
            if load.bit < 0:
                continue
            field = &self.machine.fields[load.field]
            slot = &self.machine.slots[load.slot]
            bit = load.bit
            if read_value(&self.machine, field, packet, size, &bit, slot) == OK:
                finish(&self.machine, field, slot)
                slot.stamp = self.machine.stamp if slot.kind != VALUE_NONE else 0
                if bit > self.consulted_bits:
                    self.consulted_bits = bit
            else:
                slot.stamp = 0
                self.consulted_bits = 0x7FFFFFFF
        for index in range(node.child_count):
            if holds(&self.machine, self.nodes[node.children[index]].condition):
                found = self.descend(node.children[index], packet, size)
                if found != NO_CONTAINER:
                    return found
        return node.container

    # -- decoding ------------------------------------------------------------------------------------------------------
    cdef int decode_packets(
        self, const uint8_t** packets, const int32_t* sizes, int64_t count, int32_t* containers, int64_t* rows, uint8_t* shorts,
        const int64_t* numbers_of,
    ) noexcept nogil:
        cdef int64_t index
        cdef int32_t container
        cdef bint is_alike = True
        cdef int status
        if count == 0:
            return OK
        for index in range(count):
            container = self.classify(packets[index], sizes[index])
            containers[index] = container
            shorts[index] = 0
            rows[index] = -1
            is_alike &= container == containers[0]
        container = containers[0]
        if is_alike and container >= 0 and self.layouts[container].tail.count == 0:
            status = self.decode_alike(container, packets, sizes, count, rows, numbers_of)
            if status != SHORT:
                return status
        return self.decode_mixed(packets, sizes, count, containers, rows, shorts, numbers_of)

    # Packets of any containers, those of one after those of another.
    cdef int decode_mixed(
        self, const uint8_t** packets, const int32_t* sizes, int64_t count, const int32_t* containers, int64_t* rows,
        uint8_t* shorts, const int64_t* numbers_of,
    ) noexcept nogil:
        cdef int64_t* order = <int64_t*> malloc(count * sizeof(int64_t))
        cdef int64_t* ends = <int64_t*> calloc(self.container_count + 1, sizeof(int64_t))
        cdef int64_t begin = 0
        cdef int32_t container
        cdef int status = OUT_OF_MEMORY
        if order != NULL and ends != NULL:
            sort_by_container(containers, count, self.container_count, order, ends)
            status = OK
            for container in range(self.container_count):
                if status == OK and begin < ends[container]:
                    status = self.decode_container(
                        container, packets, sizes, rows, shorts, numbers_of, order + begin, ends[container] - begin,
                    )
                begin = ends[container]
        free(order)
        free(ends)
        return status

    # Those of one container: `order` has their numbers.
    cdef int decode_container(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, int64_t* rows, uint8_t* shorts,
        const int64_t* numbers_of, const int64_t* order, int64_t count,
    ) noexcept nogil:
        cdef const uint8_t* block[BLOCK_PACKETS]
        cdef LayoutC* layout = &self.layouts[container]
        cdef int64_t index, first, place, row, fill, done = 0
        cdef bint has_short
        (<Tree> layout.tree).domains[0].expected = self.slices * count
        first = (<Tree> layout.tree).add(0, count)
        if first < 0:
            return OUT_OF_MEMORY
        while done < count:
            row, fill = first + done, min(BLOCK_PACKETS, count - done)
            has_short = False
            for place in range(fill):
                index = order[done + place]
                rows[index] = row + place
                (<Tree> layout.tree).packets[row + place] = numbers_of[index]
                block[place] = packets[index]
                if sizes[index] < layout.fixed_bytes:        # lends zeros to the columns; what it does hold comes below
                    block[place] = self.zeros
                    shorts[index] = has_short = True
            read_columns(&self.machine, layout, block, fill, row)
            if layout.tail.count or has_short:
                if self.run_tails(container, packets, sizes, shorts, order + done, fill, row) < 0:
                    return OUT_OF_MEMORY
            done += fill
        return OK

    # The usual case: packets of one container with everything at a constant place. If one is too short, SHORT and nothing done.
    cdef int decode_alike(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, int64_t count, int64_t* rows,
        const int64_t* numbers_of,
    ) noexcept nogil:
        cdef LayoutC* layout = &self.layouts[container]
        cdef int64_t index, first, least = sizes[0]
        for index in range(1, count):
            least = min(least, sizes[index])
        if least < layout.fixed_bytes:
            return SHORT
        (<Tree> layout.tree).domains[0].expected = self.slices * count
        first = (<Tree> layout.tree).add(0, count)
        if first < 0:
            return OUT_OF_MEMORY
        memcpy((<Tree> layout.tree).packets + first, numbers_of, count * sizeof(int64_t))
        for index in range(count):
            rows[index] = first + index
        index = 0
        while index < count:
            read_columns(&self.machine, layout, packets + index, min(BLOCK_PACKETS, count - index), first + index)
            index += BLOCK_PACKETS
        return OK

    # What is not at a constant place, for one block; `numbers` are its packets, `row` is that of the first.
    cdef int run_tails(
        self, int32_t container, const uint8_t** packets, const int32_t* sizes, uint8_t* shorts, const int64_t* numbers,
        int64_t count, int64_t row,
    ) noexcept nogil:
        cdef LayoutC* layout = &self.layouts[container]
        cdef int64_t index, number
        cdef int status, cell
        cdef void* tree = layout.tree
        for index in range(count):
            number = numbers[index]
            if not shorts[number] and layout.tail.count == 0:
                continue
            next_packet(&self.machine)
            (<Tree> tree).domains[0].current = row + index
            if shorts[number]:
                (<Tree> tree).track()
                for cell in range((<Tree> tree).cell_count):
                    if (<Tree> tree).cells[cell].domain == 0:
                        (<Tree> tree).cells[cell].valid[row + index] = 0
                        if (<Tree> tree).cells[cell].value_bytes >= 0:
                            (<Tree> tree).cells[cell].value_valid[row + index] = 0
                status = run_program(&self.machine, &layout.full, tree, packets[number], sizes[number])
            else:
                status = run_program(&self.machine, &layout.tail, tree, packets[number], sizes[number])
                if status > OK:
                    shorts[number] = 1
                    (<Tree> tree).track()
            if status < 0:
                return status
        return OK

    cdef int64_t time_of(self, int32_t container, int64_t row, const uint8_t* packet, int64_t size) noexcept nogil:
        cdef LayoutC* layout
        if container < 0:
            return NO_TIME
        layout = &self.layouts[container]
        if layout.time_cell >= 0:
            if (<Tree> layout.tree).cells[layout.time_cell].value_valid[row]:
                return (<int64_t*> (<Tree> layout.tree).cells[layout.time_cell].value)[row]
            return NO_TIME
        return read_code(&layout.code, packet, size) if layout.has_code else NO_TIME


# A counting sort that keeps the order of the packets: their numbers, container after container. Those of container n end at
# ends[n]; `ends` has zeros.
cdef void sort_by_container(
    const int32_t* containers, int64_t count, int container_count, int64_t* order, int64_t* ends,
) noexcept nogil:
    cdef int64_t index
    cdef int32_t container
    for index in range(count):
        if containers[index] >= 0:
            ends[containers[index] + 1] += 1
    for container in range(container_count):
        ends[container + 1] += ends[container]
    # Where each container begins, which is where it ends when all of its packets are there.
    for index in range(count):
        if containers[index] >= 0:
            order[ends[containers[index]]] = index
            ends[containers[index]] += 1
