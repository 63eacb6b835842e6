"""Rings of received video packets, shared by all who watch a stream. Owns their memory; video_history.pxd looks up."""

from libc.stdlib cimport calloc, free


cdef History* history_new(int size) noexcept nogil:
    cdef History* h
    if size < 1 or size & (size - 1):
        return NULL
    h = <History*>calloc(1, sizeof(History) + (size - 1) * sizeof(HistorySlot))
    if h is not NULL:
        h.size = size
    return h


cdef void history_free(History* h) noexcept nogil:
    free(h)


cdef void history_clear(History* h) noexcept nogil:
    cdef int i
    for i in range(h.size):
        h.slots[i].filled = 0
