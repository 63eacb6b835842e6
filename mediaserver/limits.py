"""Every bound in the house: unit last in the name, reason beside it. Reaching one is counted and answered, never silent.

Each room keeps its own section below; add to yours.
"""

from typing import Final

# --- sip
SIP_DATAGRAM_BYTES_MAX: Final = 65_535  # what UDP can carry
SIP_STREAM_MESSAGE_BYTES_MAX: Final = 65_536  # a TCP/TLS peer that never ends its headers is cut off here
SIP_HEADERS_MAX: Final = 256  # real messages stay under 60; a flood of headers is an attack

# --- media
LEGS_PER_WORKER_MAX: Final = 4_096  # two descriptors each; stays under the usual 20,000 of a process
COMMAND_QUEUE_MAX: Final = 4_096  # commands waiting for one worker; a full queue is the caller's error
PROMPT_SECONDS_MAX: Final = 600  # decoded once into memory at 48 kHz int16: 58 MB at the most
