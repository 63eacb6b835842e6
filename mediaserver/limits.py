"""Every bound in the house: unit last in the name, reason beside it. Reaching one is counted and answered, never silent.

Each room keeps its own section below; add to yours.
"""

from typing import Final

# --- sip
SIP_DATAGRAM_BYTES_MAX: Final = 65_535  # what UDP can carry
SIP_STREAM_MESSAGE_BYTES_MAX: Final = 65_536  # a TCP/TLS peer that never ends its headers is cut off here
SIP_HEADERS_MAX: Final = 256  # real messages stay under 60; a flood of headers is an attack

# --- sip user agent
SIP_AUTH_HEADER_CHARS_MAX: Final = 4_096  # real credentials stay under 600; parsing must stay cheap
SIP_NONCES_MAX: Final = 65_536  # nonces with a count; 300 s of 200 registrations/s; 10 MB
SIP_AUTH_SOURCES_MAX: Final = 16_384  # source addresses remembered for failed or unanswered challenges
SIP_CHALLENGES_MAX: Final = 4  # realms one peer may challenge us for: a proxy chain has two
SIP_CONTACTS_PER_USER_MAX: Final = 10  # devices of one person; each is a fork of every call to him
SIP_BINDINGS_MAX: Final = 100_000  # contacts of all users together
SIP_SESSIONS_MAX: Final = 20_000  # dialogs at once, whatever max_calls says; a bound on memory
SIP_FORKS_MAX: Final = 16  # early dialogs of one INVITE of ours; further ones are hung up when they answer
SIP_REDIALS_MAX: Final = 4  # times one request is sent again with credentials before its failure is reported
SIP_QUEUED_REQUESTS_MAX: Final = 16  # re-INVITEs, INFOs waiting in one session; more is a caller gone mad

# --- media
LEGS_PER_WORKER_MAX: Final = 4_096  # two descriptors each; stays under the usual 20,000 of a process
COMMAND_QUEUE_MAX: Final = 4_096  # commands waiting for one worker; a full queue is the caller's error
PROMPT_SECONDS_MAX: Final = 600  # decoded once into memory at 48 kHz int16: 58 MB at the most
