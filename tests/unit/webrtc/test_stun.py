import random

import pytest

from mediaserver.webrtc import stun
from mediaserver.webrtc.stun import Attribute, Kind

# RFC 5769 §2.1, §2.2, §2.3: password of all three, and the whole messages.
PASSWORD = b"VOkJxbRl1RmTxUk/WvJxBt"
TRANSACTION = bytes.fromhex("b7e7a701bc34d686fa87dfae")
REQUEST = bytes.fromhex(
    "000100582112a442b7e7a701bc34d686fa87dfae"
    "802200105354554e207465737420636c69656e74"
    "002400046e0001ff"
    "80290008932ff9b151263b36"
    "000600096576746a3a68367659202020"
    "000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2"
    "80280004e57a3bcf"
)
RESPONSE_IPV4 = bytes.fromhex(
    "0101003c2112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000080001a147e112a643"
    "000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7"
    "80280004c07d4c96"
)
RESPONSE_IPV6 = bytes.fromhex(
    "010100482112a442b7e7a701bc34d686fa87dfae"
    "8022000b7465737420766563746f7220"
    "002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9"
    "00080014a382954e4be67bf11784c97c8292c275bfe3ed41"
    "80280004c8fb0b4c"
)


def test_the_request_of_rfc_5769_is_read_and_its_integrity_holds():
    message = stun.parse(REQUEST)
    assert message is not None
    assert (message.kind, message.method, message.transaction_id) == (Kind.REQUEST, stun.BINDING, TRANSACTION)
    assert message.username == "evtj:h6vY"
    assert message.attributes[Attribute.PRIORITY] == bytes.fromhex("6e0001ff")
    assert message.has_fingerprint
    assert message.integrity_holds(PASSWORD)
    assert not message.integrity_holds(PASSWORD + b"x")
    assert message.unknown == []


@pytest.mark.parametrize(
    ("data", "address"),
    [(RESPONSE_IPV4, ("192.0.2.1", 32_853)), (RESPONSE_IPV6, ("2001:db8:1234:5678:11:2233:4455:6677", 32_853))],
)
def test_the_responses_of_rfc_5769_are_read(data, address):
    message = stun.parse(data)
    assert message is not None
    assert message.kind is Kind.SUCCESS
    assert message.integrity_holds(PASSWORD)
    assert stun.read_xor_address(message.attributes[Attribute.XOR_MAPPED_ADDRESS], TRANSACTION) == address
    assert stun.xor_address(*address, TRANSACTION) == message.attributes[Attribute.XOR_MAPPED_ADDRESS]


def test_what_is_written_is_read_back():
    data = stun.write(Kind.ERROR, TRANSACTION, [(Attribute.ERROR_CODE, stun.error_code(487, "Role Conflict"))], b"pw")
    message = stun.parse(data)
    assert message is not None
    assert message.kind is Kind.ERROR
    assert message.integrity_holds(b"pw")
    assert message.attributes[Attribute.ERROR_CODE] == b"\0\0\x04\x57Role Conflict"


def test_an_unknown_attribute_that_must_be_understood_is_named():
    message = stun.parse(stun.write(Kind.REQUEST, TRANSACTION, [(0x7FFF, b"x"), (0xC057, b"y")], b"pw"))
    assert message is not None
    assert message.unknown == [0x7FFF]


def test_what_follows_message_integrity_is_not_believed():
    signed = stun.write(Kind.REQUEST, TRANSACTION, [(Attribute.USERNAME, b"a:b")], b"pw")[:-8]
    smuggled = bytearray(signed + b"\0\x25\0\0")
    smuggled[2:4] = (len(smuggled) - 20).to_bytes(2, "big")
    message = stun.parse(bytes(smuggled))
    assert message is not None
    assert message.integrity_holds(b"pw")
    assert Attribute.USE_CANDIDATE not in message.attributes


@pytest.mark.parametrize("data", [REQUEST, RESPONSE_IPV4, RESPONSE_IPV6])
def test_every_truncation_and_every_trailing_byte_is_refused(data):
    assert all(stun.parse(data[:size]) is None for size in range(len(data)))
    assert stun.parse(data + b"\0") is None
    assert stun.parse(data + b"\0\0\0\0") is None


def test_every_flipped_bit_is_seen_by_fingerprint_or_integrity():
    for position in range(8 * len(REQUEST)):
        mutated = bytearray(REQUEST)
        mutated[position // 8] ^= 1 << position % 8
        message = stun.parse(bytes(mutated))
        assert message is None or not (message.has_fingerprint and message.integrity_holds(PASSWORD))


def test_noise_never_raises():
    rng = random.Random(8489)
    for _ in range(3_000):
        mutated = bytearray(rng.choice((REQUEST, RESPONSE_IPV6)))
        for _ in range(rng.randint(1, 6)):
            mutated[rng.randrange(len(mutated))] = rng.randrange(256)
        message = stun.parse(bytes(mutated[: rng.randint(0, len(mutated))]) + rng.randbytes(rng.randint(0, 8)))
        if message is not None:
            message.integrity_holds(PASSWORD)
            stun.read_xor_address(message.attributes.get(Attribute.XOR_MAPPED_ADDRESS, b""), TRANSACTION)
