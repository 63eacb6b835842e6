# Client-to-mixer audio level, RFC 6464: what a party's packets say of their sound, and what ours say of theirs.
from libc.stdint cimport int16_t, int32_t, uint8_t, uint16_t, uint64_t
from mediaserver.ext.mix cimport SpeakerState
from mediaserver.ext.packet cimport Packet

cdef enum:
    LEVEL_NONE = -1
    LEVEL_SILENT = 127                 # -dBov
    LEVEL_VOICE = 0x80                 # the V bit, above seven bits of level
    LEVEL_BLOCK_BYTES = 8              # the whole extension in either form: header 4, element 2 or 3, padding

cdef struct Levels:                    # of one leg; zeroed and then levels_init
    int32_t vad                        # the V bit means something, both ways
    int32_t now                        # of the last packet heard, V bit and level; LEVEL_NONE: it does not say
    int32_t next                       # of the packet that goes out next; LEVEL_NONE: it says nothing
    uint16_t sequence                  # of the packet that `now` is of
    SpeakerState said                  # of what we send it
    uint64_t malformed                 # extensions that contradict themselves: passed over, the sound is played

cdef void levels_init(Levels* l) noexcept nogil
# A parsed packet with or without an extension; number: of its level (RFC 8285, 1..255). What it says goes into l.now,
# and into the speaker's state where speaker is not NULL (nobody decodes what it says). The level, or LEVEL_NONE.
cdef int levels_read(Levels* l, int number, const Packet* packet, SpeakerState* speaker) noexcept nogil
# The next packet out carries a frame of this level, as long as so many of 20 ms.
cdef void levels_say(Levels* l, int level, int blocks) noexcept nogil
# What the relayed packet says of itself goes along; LEVEL_NONE where it says nothing.
cdef void levels_pass(Levels* l, const Levels* speaker, const Packet* packet) noexcept nogil
# data[size]: a plain header of 12 bytes and the payload. Writes it with l.next into out[capacity] and forgets l.next.
# The new size, or 0: there is no room.
cdef int levels_write(Levels* l, int number, const uint8_t* data, int size, uint8_t* out, int capacity) noexcept nogil
