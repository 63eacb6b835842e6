# Commands for a worker's shared ports and TCP connections; between Mailbox and Worker.
from mediaserver.ext.mailbox cimport Mailbox

cdef class Doorkeeper(Mailbox):
    pass
