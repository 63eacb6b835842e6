# What a leg tells its peer by RTCP extended reports, and what the peer tells it. See ext.xr for formats.
from libc.stdint cimport int64_t, uint8_t
from mediaserver.ext.context cimport Context
from mediaserver.ext.leg cimport Leg, LegSnapshot
from mediaserver.ext.playout cimport PlayoutStats
from mediaserver.ext.rtcp cimport RtcpReport

# An XR packet of a compound packet that was admitted. data[size], header included.
cdef void extended_receive(Context* ctx, Leg* leg, const uint8_t* data, int size, int64_t arrival_ns) noexcept nogil
# Appends what was asked for behind the report; out[capacity >= XR_BYTES_MAX]. Returns bytes, 0 when there is nothing.
cdef int extended_send(Context* ctx, Leg* leg, uint8_t* out, const RtcpReport* report) noexcept nogil
# total: of all playouts of the leg. Fills the snapshot's last fields.
cdef void extended_publish(Leg* leg, const PlayoutStats* total, LegSnapshot* s, int64_t now_ns) noexcept nogil
