# A network in memory behind the same functions: what is delivered waits in queues, what is sent is kept.
from libc.stdint cimport int64_t, uint64_t
from mediaserver.ext.net cimport Address, Network

cdef struct MemoryDatagram:
    int socket
    int size
    int64_t at_ns
    Address peer
    unsigned char* data

cdef struct MemoryQueue:
    MemoryDatagram* items
    int head
    int count
    int capacity

cdef struct MemoryState:
    MemoryQueue inbound
    MemoryQueue outbound
    uint64_t* tags                 # by socket number; 0: not watched
    int sockets
    int64_t now_ns                 # set by whoever drives the worker
    int refuse_sends               # the next so many sends fail
    int write_room                 # bytes that TCP connections still take; -1: all

cdef class MemoryNetwork:
    cdef MemoryState state
    cdef Network net
