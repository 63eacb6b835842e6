# The track commands of one worker, on the control side; between Doorkeeper and Worker.
from libc.stdint cimport int64_t, uint64_t
from mediaserver.ext.doorkeeper cimport Doorkeeper
from mediaserver.ext.tap cimport TapRing

cdef class TrackDesk(Doorkeeper):
    cdef uint64_t track_tap_command(self, int operation, uint64_t leg, int track, TapRing ring) except 0
    cdef uint64_t track_command(self, int operation, uint64_t leg, int track) except 0
