# What each command does to a worker.
from mediaserver.ext.channel cimport Command
from mediaserver.ext.state cimport Worker

# Carries it out and puts exactly one reply out. A handle that is no longer open gets STATUS_STALE_HANDLE.
cdef void run_command(Worker* w, const Command* c) noexcept nogil
