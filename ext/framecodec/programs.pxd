# What is not at a constant place, packet by packet. See programs.pyx.
from libc.stdint cimport int64_t, uint8_t

from framecodec.layouts cimport FieldC, Machine, ProgramC, Value
from framecodec.trees cimport Tree

# Runs a program over one packet; with `tree` NULL it only fills the slots. OK, OUT_OF_MEMORY, SHORT or BAD; after the last two
# what came before stands.
cdef int run_program(Machine* machine, const ProgramC* program, void* tree, const uint8_t* packet, int64_t size) noexcept nogil
# Writes a value into the current item of its cell. OK or OUT_OF_MEMORY.
cdef int store_value(Machine* machine, Tree tree, int cell, const FieldC* field, const Value* value) noexcept nogil
