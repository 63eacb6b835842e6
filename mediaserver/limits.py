"""Every bound in the house: unit last in the name, reason beside it. Reaching one is counted and answered.

Each room keeps its own section below; add to yours.
"""

from typing import Final

# --- sip
SIP_DATAGRAM_BYTES_MAX: Final = 65_535  # what UDP can carry
SIP_STREAM_MESSAGE_BYTES_MAX: Final = 65_536  # a TCP/TLS peer that never ends its headers is cut off here
SIP_HEADERS_MAX: Final = 256  # real messages stay under 60; a flood of headers is an attack
SIP_HEADER_VALUES_MAX: Final = 128  # Via, Contact, Route …: hops stay under 70; each costs some µs to parse
SIP_URIS_KEPT: Final = 4_096  # parsed URIs remembered, some 3 MB: the messages of one call repeat the same few
SIP_TRANSACTIONS_MAX: Final = 65_536  # each lives up to 32 s after its answer: 2,000 new ones a second
SIP_SOURCES_MAX: Final = 16_384  # addresses whose request rate is remembered; the oldest is forgotten
SIP_REJECTIONS_PER_SOURCE_PER_S: Final = 20  # answers to rubbish and floods, past it silence: we amplify nothing
SIP_UDP_REQUEST_BYTES_MAX: Final = 1_300  # RFC 3261 §18.1.1: larger requests prefer TCP
SIP_CONNECTIONS_MAX: Final = 4_096  # TCP and TLS together; two thousand phones and as many strangers
SIP_CONNECTIONS_PER_SOURCE_MAX: Final = 1_024  # an office behind one address, yet not all of the above
SIP_HANDSHAKES_MAX: Final = 1_024  # TLS connections that have not said who they are; each costs 1 ms of CPU
SIP_HANDSHAKES_PER_SOURCE_MAX: Final = 256  # of those: an office whose phones all come back after a restart
SIP_WRITE_BUFFER_BYTES_MAX: Final = 1_048_576  # a TCP peer that reads so slowly is cut off
SIP_PARTIAL_MESSAGE_MS_MAX: Final = 10_000  # a message that has begun on a stream must be complete by then
SIP_CONNECT_MS_MAX: Final = 5_000  # TCP and TLS set-up together; the transaction has 32 s for everything
SIP_RESOLVED_NAMES_MAX: Final = 1_024  # host names kept for a while after look-up
SIP_SENDS_WAITING_MAX: Final = 256  # messages waiting for one connection or name to come up

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

# --- recording sessions of others (SIPREC)
SIPREC_STREAMS_MAX: Final = 16  # audio sections of one session: a call has two, a conference one each or one mixed
SIPREC_METADATA_BYTES_MAX: Final = 65_535  # what one SIP message carries; two parties take 2 to 4 KB
SIPREC_ELEMENTS_MAX: Final = 4_000  # XML elements of one document, extensions included
SIPREC_DEPTH_MAX: Final = 24  # of nesting; RFC 7865 has four levels, an SBC's own extensions some more
SIPREC_OBJECTS_MAX: Final = 128  # sessions, participants and streams known of one recording session, of each
SIPREC_TEXT_CHARS_MAX: Final = 256  # of a name, an address or an id; what is longer is cut

# --- media
LEGS_PER_WORKER_MAX: Final = 4_096  # two descriptors each; stays under the usual 20,000 of a process
BRIDGES_PER_WORKER_MAX: Final = 4_096  # one per call, or per room
PACKETS_PER_WORKER: Final = 8_192  # slots of 1.6 KB: 2 s of audio for eighty decoded legs, or 160 ms for a thousand
COMMAND_QUEUE_MAX: Final = 4_096  # commands waiting for one worker; a full queue is the caller's error
PROMPT_BYTES_MAX: Final = 268_435_456  # of all decoded prompts together; messages played once must not pile up
PROMPT_SECONDS_MAX: Final = 600  # decoded once into memory at 48 kHz int16: 58 MB at the most
VIDEO_HISTORY_PACKETS: Final = 512  # of a received stream, kept to be sent again: 2 s at 2.5 Mbit/s; 800 KB. 2^n
VIDEO_HISTORY_PACKETS_LOW: Final = 256  # of each lower simulcast layer, which has fewer packets in a second. 2^n

# --- sdp
MEDIA_PORT_MIN: Final = 1_024  # below are services (RFC 6335): nobody may point our media at a DNS or a login
SDP_BYTES_MAX: Final = 65_535  # what one SIP datagram could carry
SDP_LINES_MAX: Final = 2_000  # a browser's offer with 20 video sections has about 1,500
SDP_MEDIA_MAX: Final = 64  # m= sections; each is answered, so an attacker must not make us write thousands
SDP_FORMATS_MAX: Final = 128  # payload types there are
SDP_CRYPTO_LINES_MAX: Final = 32  # a=crypto lines looked at per m= section
SDP_CANDIDATES_MAX: Final = 32  # a=candidate lines kept; a browser with four networks and two relays writes some 20
SDP_FMTP_VALUE_CHARS_MAX: Final = 512  # of one video parameter passed on; H.264 parameter sets in base64 stay under 200
SDP_SIMULCAST_STREAMS_MAX: Final = 4  # layers of one picture; browsers send three
SDP_SSRCS_MAX: Final = 8  # streams declared by a=ssrc in one video section; four layers and as many to spare
SDP_VIDEO_FORMATS_OFFERED_MAX: Final = 16  # in one section of ours; a browser has six of H.264 and five others
SDP_VIDEO_LINES_MAX: Final = 40  # video sections of one leg: 19 others with camera and slides, and its own two

# --- calls
VIDEO_REOFFER_S_MAX: Final = 8.0  # one party's offer of video waits so long for the other's answer, then goes without
REOFFER_WAIT_S_MAX: Final = 8.0  # an offer of ours to a leg waits so long for the one before it, then is given up
WIDEN_OFFER_S_MAX: Final = 60.0  # for the answer to an offer of wideband: longer than any transaction with five glares
WIDEN_GLARE_TRIES_MAX: Final = 3  # an offer of wideband that a page crosses with its own
LEG_EVENTS_MAX: Final = 256  # signalling and media events waiting for one leg; a peer that overruns it is hung up
DIGITS_MAX: Final = 64  # digits typed ahead and not yet gathered; later ones are dropped and counted
FORK_BRANCHES_MAX: Final = 32  # contacts rung at once for one call
LEGS_PER_CALL_MAX: Final = 128  # one call's legs over its life: stops a transfer loop
LEGS_PARTED_MAX: Final = 64  # legs with data channels between two calls: each is there for one step of a transfer
REROUTES_MAX: Final = 16  # programs one call may be handed to: stops two rules that transfer to each other
PROGRAM_TASKS_MAX: Final = 256  # asyncio tasks one call may own at a time
ROUTING_RULES_MAX: Final = 10_000  # each call walks them in order
PROMPT_PATHS_MAX: Final = 1_024  # loaded files whose names are remembered for recordings; messages pass through once
RECORD_SECONDS_MAX: Final = 3_600  # one message a program records
ROOM_VIEWS_MAX: Final = 36  # others' pictures one browser gets: 18 with camera and screen; beyond it, who spoke last
ROOM_OFFER_TRIES_MAX: Final = 4  # an offer of new pictures that a browser refuses or crosses with its own; 3 s in all
CONFERENCE_PARTIES_MAX: Final = 1_000  # N-1 mixing of one room on one worker

# --- store
STORE_CONNECTIONS_MAX: Final = 4  # one for the spool, the rest for pages and commands; SQLite has one writer anyway
STORE_BUSY_TIMEOUT_MS: Final = 5_000  # a `users add` beside the running server waits so long for the write lock
STORE_BATCH_ROWS_MAX: Final = 500  # rows per transaction: long enough to be cheap, short enough not to hold the lock
STORE_FACTS_MAX: Final = 50_000  # call, consent and recording rows waiting for a dead database: hours of calls, ~50 MB
STORE_SAMPLES_MAX: Final = 100_000  # quality intervals waiting; the first to be dropped when the database stays dead
BLOB_PART_BYTES: Final = 8_388_608  # of a journal in the bucket: one request, one repetition after a failure
BLOB_TRIES_MAX: Final = 3  # of one request to the bucket, at once; later tries are the shipper's
STORE_BACKOFF_S_MAX: Final = 10.0  # between tries on a dead database
USER_NAME_LENGTH_MAX: Final = 64  # column width; longer user parts are never typed by people

# --- house
GC_YOUNG_OBJECTS: Final = 20_000  # made between two young rounds: some 30 calls; such a round takes 2 ms
LOG_LINES_WAITING_MAX: Final = 10_000  # a stalled terminal costs some 3 MB, then lines are dropped and counted
API_FAILURES_PER_SOURCE_PER_MIN: Final = 10  # wrong admin passwords; a person mistypes three times, a guesser goes on
API_FAILED_SOURCES_MAX: Final = 4_096  # addresses remembered for that; the longest unseen is forgotten
API_BODY_BYTES_MAX: Final = 65_536  # of a request; the longest that is meant is a user's name and password
DESCRIPTORS_WANTED: Final = 16_384  # fewer, and the start says so
HTTP_CONNECTIONS_MAX: Final = 8_192  # one source gets half
HTTP_DESCRIPTORS_SHARE: Final = 0.5  # of the process's descriptors at most; the others are for calls
HTTP_HELLO_S_MAX: Final = 10.0  # from accept to the end of the TLS handshake
HTTP_IDLE_S_MAX: Final = 75.0  # a connection between two requests, or before its first: strangers hold none for longer
HTTP_BODY_S_MAX: Final = 10.0  # for the body of who has not signed in yet: a name and a password
API_RECORDINGS_PER_PAGE_MAX: Final = 500  # one answer stays under 200 KB
METRICS_LEGS_MAX: Final = 16_384  # legs whose intervals are being counted; four times what a worker holds

# --- recording
JOURNAL_TEXT_BYTES_MAX: Final = 65_535  # what the frame's 16-bit size can say
SEGMENT_BYTES_MAX: Final = 524_288  # of a journal's sealed segment: twice a tap's ring, with room for notes
TAP_SLOTS_MAX: Final = 8_192  # rings of sound that outlive the process; those beyond are its own memory
TAP_VIDEO_SLOTS_MAX: Final = 1_024  # the same of pictures
SPOOL_BATCH_BYTES_MAX: Final = 4_194_320  # what one round of all legs writes at once, and its tag; a fuller round: more
SPOOL_KEPT_BYTES: Final = 4_194_304  # a spool file up to this size is not cut when less is written to it
SPOOL_WAIT_S_MAX: Final = (
    30.0  # a word stays in a spool for two segment intervals, 20 s at most, and a slow disk's time
)
SPOOL_LOOK_S: Final = 0.1
KEY_FILE_BYTES_MAX: Final = 4_096  # a wrapped data key is 400
KEY_COMMAND_S_MAX: Final = 20.0  # a key service that takes longer counts as absent
MANIFEST_BYTES_MAX: Final = 16_777_216  # a day of a busy room's windows; read whole
WRITER_STALLED_S_MAX: Final = 3.0  # a round of the writer that takes longer is a disk that does not answer
WRITER_LOOK_S: Final = 0.5  # how often that is looked at
RETENTION_LOOK_S: Final = 600.0  # how often recordings whose time is over are looked for
LEDGER_LINE_BYTES_MAX: Final = 8_192  # a closing takes 600; a reason, escaped, stays under six times its characters
REMOVAL_REASON_CHARACTERS_MAX: Final = 500  # it stands in manifest, ledger and catalogue
LEDGER_FOLLOW_S: Final = 1.0  # how often it is looked at for what to tell
LEDGER_NEWS_BYTES_MAX: Final = 262_144  # told at once: some 400 recordings
SHIP_LOOK_S: Final = 5.0  # how often recordings are looked for that are to move to the bucket
SHIP_AT_ONCE_MAX: Final = 50  # recordings of one round
SHIP_PARALLEL_MAX: Final = 6  # at a time: requests to a far bucket are mostly waiting; two parts of memory each
FETCH_PARALLEL_MAX: Final = 4  # parts of one recording at a time
SHIP_PAUSE_S_MIN: Final = 1.0  # after the first failure in a row; doubles
SHIP_PAUSE_S_MAX: Final = 300.0
SHIP_TROUBLED_MAX: Final = 1_000  # recordings whose own trouble is remembered; the oldest is tried again at once
STORED_BYTES_MAX: Final = 4_194_304  # of a stored.json: 50,000 parts, days of a busy room
RENDER_KEPT_S: Final = 3_600.0  # a rendered file that nobody asks for again goes after that: PCM takes room
PURPOSES_MAX: Final = 8  # of one policy; each party has a state for each
CONSENT_POLICIES_MAX: Final = 1_000  # each call walks the matches in order
REORDER_NS_MAX: Final = 2_000_000_000  # a packet later than this is not put back into its place when rendering
PICTURE_PACKETS_WAITING_MAX: Final = 4_096  # behind a missing one when a film is made: 2 s of 16 Mbit/s
PICTURE_STREAMS_MAX: Final = 64  # SSRCs looked at in one journal of pictures; whoever renews his more often is cut off
GRID_WIDTH: Final = 1_280  # of several pictures put into one
GRID_HEIGHT: Final = 720
GRID_RATE_HZ: Final = 15  # people who talk need no more, and each frame is encoded
PICTURE_BYTES_MAX: Final = 16_777_216  # of one frame put together: far beyond what any camera sends
RECORDING_SECONDS_MAX: Final = 86_400  # a render stops there: 5.5 GB of 16 kHz stereo would not fit a WAV header
LISTEN_OPEN_MAX: Final = 32  # recordings listened to whose survey is held ready: 2 MB each for two hours
LISTEN_STRETCH_CHUNKS: Final = 8  # rendered before it is looked who waits: 16 s of two parties at 8 kHz, some 0.1 s
LISTEN_WAIT_S_MAX: Final = 60.0  # for a part that is not rendered yet; a worker needs a hundredth of it
LISTEN_WORKER_KEPT_S: Final = 600.0  # the worker waits ready so long after somebody looked at recordings; some 90 MB
RENDER_PROCESSES_MAX: Final = 1  # at a time: media has the other cores

# --- app
USERS_POLL_S: Final = 1.0  # how soon a running server knows a user that the command line added
EVENT_LOOP_LAG_LOGGED_S: Final = 0.25  # a loop that was held up so long says so: something in it blocks

# --- quality
VQ_REPORT_BYTES_MAX: Final = 16_384  # of one RFC 6035 report; with every line of both sides they stay under 3 KB
VQ_REPORT_LINES_MAX: Final = 200
QUALITY_PUBLISHES_MAX: Final = 256  # reports of ours that wait for the collector's answer: its silence lasts 32 s each
PHONE_REPORT_LEGS_MAX: Final = 4_096  # legs a phone may still report on; its report comes seconds after the end
PHONE_REPORTS_PER_LEG_MAX: Final = 1_500  # a day of one each minute; each is a row in the database
ALERT_TRUNKS_MAX: Final = 256  # trunks watched for alerts; a configuration has a handful
WEBHOOKS_WAITING_MAX: Final = 256  # alerts waiting for a receiver that does not answer; the oldest is dropped
EVENTS_WAITING_MAX: Final = 10_000  # of recordings, for a receiver that is away; some 3 MB; the oldest is dropped
WEBHOOK_TRIES_MAX: Final = 8  # about four minutes with doubling pauses
HEP_PACKETS_WAITING_MAX: Final = 4_096  # for a capture server that is slow or away; later ones are dropped
TRACE_SPANS_WAITING_MAX: Final = 2_048  # for a collector of traces that is slow or away; later ones are dropped
TRACE_EVENTS_PER_LEG_MAX: Final = 64
HEP_PAYLOAD_BYTES_MAX: Final = 60_000  # a HEP packet says its length in 16 bits
METRICS_TRUNKS_MAX: Final = 10  # trunks with a label of their own; further ones are "other"
QUALITY_LEGS_PER_TURN_MAX: Final = 100  # scored in one turn of the loop: about 5 ms; ten turns a second

# --- webrtc
ICE_CONSENT_NS: Final = 30_000_000_000  # RFC 7675 §5.1: without a check for so long nothing may be sent there
ICE_SOURCES_MAX: Final = 16  # addresses of one leg that know its password; a browser on three networks has six
ICE_CHECKS_REMEMBERED_MAX: Final = 256  # checks a repetition from elsewhere is known by: some minutes of a browser's
ICE_FRAGMENT_BYTES_MAX: Final = 16_384  # of trickled candidates; a browser on ten networks sends some 4,000
ICE_FRAGMENT_LINES_MAX: Final = 128
DTLS_CERTIFICATE_DAYS: Final = 365  # a call in its last second of renewal may go on for eleven months
DTLS_CERTIFICATE_RENEW_DAYS: Final = 30  # RFC 8827 §6.5 leaves it open; Chromium's own last as long
DTLS_HANDSHAKE_NS_MAX: Final = 20_000_000_000  # five repeated flights; who needs longer will not have a call either
DTLS_DATAGRAM_BYTES_MAX: Final = 1_200  # fits every path with IPv6 and a tunnel around it
DTLS_RECORDS_PER_DATAGRAM_MAX: Final = 64  # a record of SCTP has at least 41 bytes: more do not fit
WEBRTC_READY_S_MAX: Final = 15.0  # from our answer to keys: ICE on a slow network and DTLS with one lost flight
ICE_TCP_CONNECTIONS_MAX: Final = 1_000  # of all browsers and strangers; a worker has 1,024 places
ICE_TCP_CONNECTIONS_PER_HOST_MAX: Final = (
    32  # of one address that have proven nothing yet; an office behind NAT shares it
)
ICE_TCP_PROVE_S_MAX: Final = 10.0  # from connecting to a check that was right; then the connection is closed
ICE_TRANSACTIONS_MAX: Final = 8_192  # checks of ours whose answers are awaited; a full agent begins 50 a second
ICE_GATHER_S_MAX: Final = 0.5  # how long an answer waits for a STUN server
ICE_UFRAG_BYTES_MAX: Final = 256  # RFC 8839 §5.4
WEBRTC_SOCKET_BYTES: Final = 4_194_304  # queue of the shared port: 100 ms of 300 Mbit/s
WEBSOCKET_MESSAGE_BYTES_MAX: Final = 65_536  # one SIP message; a browser's offer with video has some 10,000
DATA_MESSAGE_BYTES_MAX: Final = 16_384  # one data channel message either way: a line of chat or an event, no files
LEG_DATAGRAMS_WAITING_MAX: Final = 256  # STUN and DTLS of one worker on their way to Python; more are dropped

# --- tokens, pages, WHIP and WHEP
TOKEN_CHARS_MAX: Final = 2_048  # ours have some 400; what is longer is not even looked at
TOKEN_KEYS_MAX: Final = 8  # signing keys kept: one signs, the former ones still verify
PAGE_SOCKETS_MAX: Final = 10_000  # JSON WebSockets at once; each is some 30 KB
PAGE_SOCKETS_PER_USER_MAX: Final = 100  # a person has some devices and tabs; one user must not have all of the above
PAGE_SOCKETS_PER_SOURCE_MAX: Final = 5_000  # likewise of one address: an office behind NAT, not all there are
PAGE_GREETINGS_PER_SOURCE_MAX: Final = 256  # of one address, before the token; each lasts PAGE_HELLO_S_MAX at most
PAGE_HELLO_S_MAX: Final = 5.0  # from the handshake to the token
PAGE_MESSAGES_PER_S_MAX: Final = 20  # of one page, over time; a call's candidates come in a burst
PAGE_MESSAGES_BURST_MAX: Final = 200
PAGE_CALLS_MAX: Final = 8  # of one page at a time
PAGE_LEGS_MAX: Final = 20_000  # legs whose people are told; twice what max_calls allows
DATA_BUFFERED_BYTES_MAX: Final = 262_144  # waiting for one data channel; a peer that reads so slowly loses it
DATA_CHANNELS_MAX: Final = 8  # of one leg over its life; ours use one
DATA_LABEL_CHARS_MAX: Final = 128
SCTP_PACKETS_WAITING_MAX: Final = 256  # of one leg, on their way to the association; more are lost as on any network
SCTP_HELD_BYTES_MAX: Final = 262_144  # unfinished messages of one leg: the window we tell its peer
SCTP_HELD_CHUNKS_MAX: Final = 512  # chunks behind a gap; each costs a look at every new one
SCTP_GAPS_ACKED_MAX: Final = 4_096  # packets one SACK may report behind gaps: four times what is ever under way
SCTP_PACKET_BYTES_MAX: Final = 2_048  # browsers keep to 1,200
SCTP_STREAMS_MAX: Final = 64  # SCTP allows 65,535 and each costs memory; browsers take the lowest
CHAT_CHARS_MAX: Final = 2_000
CHAT_DELIVERIES_PER_S_MAX: Final = 1_000  # of one leg, over time: a line a second to a full room; each costs some 20 µs
CHAT_BURST_S_MAX: Final = 5.0  # so much of that at once
ROOM_PARTICIPANTS_TOLD_MAX: Final = 100  # listed to a page; how many there are is told besides
WHIP_ANSWER_S_MAX: Final = 60.0  # a POST that rings somebody waits so long, as a telephone would
WHIP_GONE_LOOK_S: Final = 1.0  # how often it is looked whether the client of such a POST is still connected
WHIP_RESTART_S_MAX: Final = 5.0  # from a PATCH to our new credentials: nothing in it waits for the network
WHIP_NUMBER_CHARS_MAX: Final = 128  # as routing has it
WHEP_CHOICE_CHARS_MAX: Final = 128  # a participant's name, or a RID
WHEP_CHOICE_BYTES_MAX: Final = 1_024  # both in JSON; also of a list of events
WHEP_EVENTS_LOOK_S: Final = 0.5  # how often it is looked what a viewer has to be told
WHEP_EVENTS_ALIVE_S: Final = 15.0  # a silent event stream says something: proxies close what says nothing
WHEP_EVENTS_WRITE_S_MAX: Final = 10.0  # whoever reads no faster is not told any more

# --- the review page
REVIEW_SESSION_S_MAX: Final = 12 * 3_600  # a shift; then one signs in again
REVIEW_SHARE_S_MAX: Final = 30 * 86_400  # of a link given to somebody without an account
REVIEW_PASSWORD_CHARS_MIN: Final = 10
REVIEW_PASSWORD_CHARS_MAX: Final = 256  # argon2 reads all of it
REVIEW_PASSWORDS_AT_ONCE_MAX: Final = 2  # each takes 64 MiB and a core
REVIEW_FAILURES_LOGGED_PER_MIN_MAX: Final = 30  # of all sources; what is above is counted in the next line
OIDC_TIMEOUT_S: Final = 10.0  # for one question to the issuer
OIDC_ANSWER_BYTES_MAX: Final = 262_144  # of it: some dozens of keys with their certificates
OIDC_CHARS_MAX: Final = 16_384  # of an ID token and of a code
OIDC_FRESH_S: Final = 3_600  # what the issuer says of itself, and its keys, are read again after
OIDC_KEYS_AGAIN_S_MIN: Final = 60  # between two readings that tokens of unknown keys cause
OIDC_KEYS_MAX: Final = 64
OIDC_ATTEMPT_S_MAX: Final = 600  # from our page to the issuer's and back, a second factor included
OIDC_ATTEMPTS_MAX: Final = 1_000  # under way; the oldest goes
OIDC_ATTEMPTS_PER_SOURCE_MAX: Final = 50  # a branch office behind one address
REVIEW_PAGE_ROWS_MAX: Final = 200
REVIEW_CSV_ROWS_MAX: Final = 50_000  # a spreadsheet of some 6 MB
REVIEW_TEXT_CHARS_MAX: Final = 4_000  # of a comment
REVIEW_NAME_CHARS_MAX: Final = 64  # of a tag and of a saved search
REVIEW_SEARCHES_MAX: Final = 50  # saved by one person
REVIEW_TAGS_MAX: Final = 20  # of one recording
SCORECARD_QUESTIONS_MAX: Final = 200
SCORECARD_TEXT_CHARS_MAX: Final = 300  # of a question or a title
REPORT_REVIEWS_MAX: Final = 200_000  # read for one report: a year of a large centre, some seconds in pieces
REPORT_ROWS_MAX: Final = 10_000  # lines of one: a hundred agents by day for a quarter
LISTENERS_PER_CALL_MAX: Final = 4  # supervisors who hear one call at a time
SAMPLING_RULES_MAX: Final = 100  # looked at every five minutes
SAMPLING_REVIEWERS_MAX: Final = 100  # of one rule
SAMPLING_DRAWN_MAX: Final = 1_000  # calls of one agent or queue in one period
SAMPLING_CALLS_MAX: Final = 100_000  # of one period a rule draws from; beyond, the newest
SAMPLING_PERIODS_AT_ONCE_MAX: Final = 62  # missed while the server was down: two months of days in one round
CALIBRATION_CALLS_MAX: Final = 50  # of one session: a day's work for each who is invited
CALIBRATION_REVIEWERS_MAX: Final = 20
CALIBRATIONS_OPEN_MAX: Final = 100  # at a time: all are read for what must stay hidden from whom
CALIBRATIONS_SHOWN_MAX: Final = 50  # the newest
REVIEW_PLAYED_MAX: Final = 200  # stretches in one report of what was heard
REVIEW_PICTURES_MAX: Final = 32  # camera and screen of sixteen parties: what one report of a player may name
REVIEW_INDEXED_AT_ONCE_MAX: Final = 50  # recordings made findable in one round
REVIEW_ANALYSIS_CALLS_MAX: Final = 100  # with more calls running, silence and overtalk wait: they cost a decode
