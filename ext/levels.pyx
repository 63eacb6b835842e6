"""Client-to-mixer audio level, RFC 6464, in a header extension of RFC 8285: read, passed on, written.

What a party says of itself is a claim. It stands for the level of a leg whose samples nobody decodes, and goes along
with what is relayed; where samples are decoded they are measured, and no claim is listened to. An extension that
contradicts itself is passed over and counted, its packet is played. Ids above 14 need the two-byte form; whoever
offers one can read it.
"""

from libc.string cimport memcpy, memset
from mediaserver.ext.mix cimport speaker_init, speaker_step
from mediaserver.ext.rtp cimport RTP_HEADER_BYTES, rtp_parse, write_be16
from mediaserver.ext.video_extensions cimport ExtensionNumbers, Extensions, extensions_parse

cdef enum:
    EXTENSION_BIT = 0x10
    ONE_BYTE = 0xBEDE
    TWO_BYTE = 0x1000                  # and four bits of the application's
    ONE_BYTE_ID_MAX = 14
    MALFORMED = -2


cdef void levels_init(Levels* l) noexcept nogil:
    memset(l, 0, sizeof(Levels))
    l.now = LEVEL_NONE
    l.next = LEVEL_NONE
    speaker_init(&l.said)


cdef int find_level(const Packet* packet, int number) noexcept nogil:
    """V bit and level; LEVEL_NONE: it is not there; MALFORMED: an element is longer than the extension."""
    cdef ExtensionNumbers numbers
    cdef Extensions found
    if not packet.data[0] & EXTENSION_BIT:
        return LEVEL_NONE
    memset(&numbers, 0, sizeof(numbers))
    numbers.audio_level = <uint8_t>number
    if extensions_parse(packet, &numbers, &found) < 0:
        return MALFORMED
    if not found.has_audio_level:
        return LEVEL_NONE
    return found.audio_level


cdef int levels_read(Levels* l, int number, const Packet* packet, SpeakerState* speaker) noexcept nogil:
    cdef int said = find_level(packet, number)
    cdef int level
    cdef bint talking
    l.sequence = packet.sequence
    l.now = LEVEL_NONE
    if said == MALFORMED:
        l.malformed += 1
    if said < 0:
        return LEVEL_NONE
    level = said & 0x7F
    talking = said & LEVEL_VOICE if l.vad else level < LEVEL_SILENT
    if speaker is not NULL:
        speaker_step(speaker, level)
        if not l.vad:
            talking = speaker.talking
    l.now = (LEVEL_VOICE if talking else 0) | level
    return level


cdef void levels_say(Levels* l, int level, int blocks) noexcept nogil:
    cdef int _
    for _ in range(blocks):
        speaker_step(&l.said, level)
    l.next = (LEVEL_VOICE if l.said.talking else 0) | level


cdef void levels_pass(Levels* l, const Levels* speaker, const Packet* packet) noexcept nogil:
    # What RED brings back of an earlier packet comes without that one's header.
    l.next = speaker.now if speaker.sequence == packet.sequence else LEVEL_NONE


cdef int levels_write(Levels* l, int number, const uint8_t* data, int size, uint8_t* out, int capacity) noexcept nogil:
    cdef uint8_t* block = out + RTP_HEADER_BYTES
    cdef int said = l.next
    l.next = LEVEL_NONE
    if size + LEVEL_BLOCK_BYTES > capacity:
        return 0
    if not l.vad:
        said &= 0x7F
    memcpy(out, data, RTP_HEADER_BYTES)
    out[0] |= EXTENSION_BIT
    memset(block, 0, LEVEL_BLOCK_BYTES)
    write_be16(block + 2, 1)
    if number <= ONE_BYTE_ID_MAX:
        write_be16(block, ONE_BYTE)
        block[4] = <uint8_t>(number << 4)
        block[5] = <uint8_t>said
    else:
        write_be16(block, TWO_BYTE)
        block[4] = <uint8_t>number
        block[5] = 1
        block[6] = <uint8_t>said
    memcpy(block + LEVEL_BLOCK_BYTES, data + RTP_HEADER_BYTES, size - RTP_HEADER_BYTES)
    return size + LEVEL_BLOCK_BYTES


cdef class LevelsForTest:
    """One leg's state, packet by packet."""

    cdef Levels levels
    cdef SpeakerState speaker

    def __cinit__(self, bint vad=True):
        levels_init(&self.levels)
        speaker_init(&self.speaker)
        self.levels.vad = vad

    def read(self, int number, bytes data) -> int | None:
        """V bit and level of one RTP packet; None: it does not say, or is no RTP."""
        cdef Packet packet
        if len(data) > <Py_ssize_t>sizeof(packet.data):
            return None
        memcpy(packet.data, <const uint8_t*>data, len(data))
        packet.size = <uint16_t>len(data)
        if rtp_parse(&packet) < 0 or levels_read(&self.levels, number, &packet, &self.speaker) < 0:
            return None
        return self.levels.now

    def write(self, int number, bytes data, int level, int capacity=1500) -> bytes:
        cdef uint8_t out[2048]
        levels_say(&self.levels, level, 1)
        size = levels_write(&self.levels, number, <const uint8_t*>data, <int>len(data), out, min(capacity, 2048))
        return (<char*>out)[:size]

    @property
    def malformed(self) -> int:
        return self.levels.malformed
