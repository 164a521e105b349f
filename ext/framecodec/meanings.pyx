# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What raw values mean: calibrated numbers, labels, times (XTCE 1.2: calibrators, EnumerationList, ReferenceTime)."""
from libc.math cimport isnan
from libc.stdint cimport INT64_MAX, int64_t

from framecodec.conditions cimport holds
from framecodec.layouts cimport (
    CALIBRATOR_MATH, CALIBRATOR_POLYNOMIAL, MAKE_CALIBRATED, MAKE_LABEL, MAKE_NOTHING, MAKE_POLYNOMIAL, MAKE_SPAN, MAKE_TEXT,
    VALUE_NONE, VALUE_REAL, VALUE_UNSIGNED, CalibratorC, FieldC, Machine, Value,
)
from framecodec.timecodes cimport NO_TIME, to_utc
from framecodec.values cimport compute, is_whole, number_of


cdef void finish(Machine* machine, const FieldC* field, Value* value) noexcept nogil:
    cdef int index
    cdef int64_t whole, low, high
    cdef double raw
    if field.making == MAKE_NOTHING or field.making == MAKE_TEXT or value.kind == VALUE_NONE:
        return
    if field.making == MAKE_LABEL:
        if not is_whole(value, &whole):
            return
        value.value = <double> whole
        if field.label_table >= 0 and 0 <= whole < (1 << field.width):
            value.label = machine.label_table[field.label_table + whole]
            value.has_value = value.label >= 0
            return
        for index in range(field.label, field.label + field.label_count):
            low, high = machine.labels[index].low, machine.labels[index].high
            if low <= whole <= high:
                value.label = machine.labels[index].index
                value.has_value = True
                return
        return
    raw = number_of(value)
    if field.making == MAKE_POLYNOMIAL or field.making == MAKE_CALIBRATED:
        calibrate(machine, field, value, raw)
        return
    value.time_ns = NO_TIME
    if field.offset_from >= 0:
        if machine.slots[field.offset_from].stamp != machine.stamp or not machine.slots[field.offset_from].has_value:
            return
        low = machine.slots[field.offset_from].time_ns
    else:
        low = field.epoch_ns
    if low == NO_TIME:
        return
    if field.tick_whole and value.kind != VALUE_REAL and field.offset_ns == 0:
        whole = value.bits
        high = INT64_MAX // field.tick_whole
        if (value.kind == VALUE_UNSIGNED and whole < 0) or not -high <= whole <= high:
            return
        whole *= field.tick_whole
    else:
        raw = raw * field.tick_ns + field.offset_ns
        if not -9e18 < raw < 9e18:
            return
        whole = <int64_t> raw
    if field.making == MAKE_SPAN:
        value.value = (
            (raw * field.tick_ns + field.offset_ns) / 1e9
            if field.tick_whole and value.kind != VALUE_REAL and field.offset_ns == 0
            else raw / 1e9
        )
        value.time_ns = whole
        value.has_value = True
        return
    if (whole > 0 and low > INT64_MAX - whole) or (whole < 0 and low < -INT64_MAX - whole):
        return
    value.time_ns = low + whole if field.offset_from >= 0 else to_utc(low + whole, field.scale)
    if value.time_ns == NO_TIME:
        return
    value.value = <double> value.time_ns / 1e9
    value.has_value = True


cdef void calibrate(Machine* machine, const FieldC* field, Value* value, double raw) noexcept nogil:
    cdef CalibratorC* calibrator
    cdef double* number
    cdef double result, span
    cdef int index, low, high, middle
    for index in range(field.calibrator, field.calibrator + field.calibrator_count):
        calibrator = &machine.calibrators[index]
        if calibrator.condition < 0 or holds(machine, calibrator.condition):
            break
    else:
        value.value = raw
        value.has_value = True
        return
    if calibrator.kind == CALIBRATOR_MATH:
        value.has_value = compute(machine, &machine.math[calibrator.start], calibrator.count, raw, &value.value)
        return
    number = &machine.numbers[calibrator.start]
    if calibrator.kind == CALIBRATOR_POLYNOMIAL:
        result = number[calibrator.count - 1]
        for index in range(calibrator.count - 2, -1, -1):
            result = result * raw + number[index]
        value.value = result
        value.has_value = True
        return
    # Spline: pairs of raw and calibrated, rising.
    high = calibrator.count - 1
    if isnan(raw) or ((raw < number[0] or raw > number[2 * high]) and not calibrator.is_extrapolated):
        return
    low = 0
    while high - low > 1:
        middle = (low + high) >> 1
        if number[2 * middle] <= raw:
            low = middle
        else:
            high = middle
    if calibrator.order == 0:
        # Steps: the point at or below; the last one for itself and above.
        value.value = number[2 * high + 1] if raw >= number[2 * high] else number[2 * low + 1]
    else:
        span = (raw - number[2 * low]) / (number[2 * high] - number[2 * low])
        value.value = number[2 * low + 1] + span * (number[2 * high + 1] - number[2 * low + 1])
        if raw == number[2 * high]:
            value.value = number[2 * high + 1]
    value.has_value = True
