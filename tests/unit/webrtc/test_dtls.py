import random

import pytest

from mediaserver.clock import VirtualClock
from mediaserver.limits import DTLS_CERTIFICATE_RENEW_DAYS, DTLS_DATAGRAM_BYTES_MAX, DTLS_HANDSHAKE_NS_MAX
from mediaserver.model import SrtpProfile
from mediaserver.webrtc.dtls import DtlsEndpoint, DtlsIdentities, DtlsIdentity, DtlsState, Fingerprint

US, THEM = DtlsIdentity(), DtlsIdentity()


def pair():
    server, client = DtlsEndpoint(US, client=False), DtlsEndpoint(THEM, client=True)
    server.expect(THEM.fingerprint)
    client.expect(US.fingerprint)
    return server, client


def shake(server, client, *, change=lambda data, number: [data]):
    """Carries datagrams to and fro until nobody speaks; `change` stands for the network. How many there were."""
    number = 0
    server.start(0)
    client.start(0)
    for _ in range(20):
        before = number
        for speaker, listener in ((client, server), (server, client)):
            for data in speaker.poll():
                assert len(data) <= DTLS_DATAGRAM_BYTES_MAX
                for arriving in change(data, number):
                    listener.receive(arriving, 0)
                number += 1
        if number == before:
            return number
    raise AssertionError("the two never stopped talking")


def test_both_ends_get_the_same_keys_the_other_way_round():
    server, client = pair()
    shake(server, client)
    assert (server.state, client.state) == (DtlsState.CONNECTED, DtlsState.CONNECTED)
    assert server.keys.send == client.keys.receive
    assert server.keys.receive == client.keys.send
    assert server.keys.send != server.keys.receive
    assert server.keys.send.profile is SrtpProfile.AEAD_AES_256_GCM
    assert server.next_deadline() is None


def test_keys_are_not_shown():
    server, client = pair()
    shake(server, client)
    assert server.keys.send.key_and_salt.hex() not in repr(server.keys)
    assert repr(server.keys) == "SrtpKeys()"


@pytest.mark.parametrize("wrong", ["server", "client"])
def test_a_certificate_without_the_fingerprint_of_the_description_gives_no_keys(wrong):
    server, client = DtlsEndpoint(US, client=False), DtlsEndpoint(THEM, client=True)
    stranger = DtlsIdentity().fingerprint
    server.expect(stranger if wrong == "client" else THEM.fingerprint)
    client.expect(stranger if wrong == "server" else US.fingerprint)
    shake(server, client)
    judge = server if wrong == "client" else client
    assert judge.state is DtlsState.FAILED
    assert judge.keys is None
    assert "fingerprint" in judge.failure


def test_a_fingerprint_that_comes_after_the_handshake_decides_then():
    server, client = DtlsEndpoint(US, client=False), DtlsEndpoint(THEM, client=True)
    client.expect(US.fingerprint)
    shake(server, client)
    assert server.state is DtlsState.HANDSHAKE
    assert server.keys is None
    server.expect(THEM.fingerprint)
    assert server.state is DtlsState.CONNECTED
    assert server.keys.receive == client.keys.send


def test_datagrams_that_come_twice_change_nothing():
    server, client = pair()
    shake(server, client, change=lambda data, number: [data, data])
    assert server.keys.send == client.keys.receive


def test_a_replayed_handshake_gives_a_stranger_nothing():
    server, client = pair()
    heard = []
    shake(server, client, change=lambda data, number: heard.append(data) or [data])
    victim = DtlsEndpoint(US, client=False)
    victim.expect(THEM.fingerprint)
    for data in heard:
        victim.receive(data, 0)
    assert victim.keys is None


def test_a_handshake_nobody_answers_is_given_up_and_not_a_nanosecond_sooner():
    client = DtlsEndpoint(THEM, client=True)
    client.start(7)
    assert client.poll()
    client.handle_timer(7 + DTLS_HANDSHAKE_NS_MAX - 1)
    assert client.state is DtlsState.HANDSHAKE
    client.handle_timer(7 + DTLS_HANDSHAKE_NS_MAX)
    assert client.state is DtlsState.FAILED
    assert client.next_deadline() is None


def test_the_end_is_told_to_the_peer():
    server, client = pair()
    shake(server, client)
    client.close()
    for data in client.poll():
        server.receive(data, 0)
    assert server.state is DtlsState.CLOSED
    assert client.keys is None


@pytest.mark.parametrize("seed", range(6))
def test_mutated_and_truncated_flights_never_raise_and_never_give_different_keys(seed):
    rng = random.Random(seed)

    def damage(data, number):
        broken = bytearray(data)
        broken[rng.randrange(len(broken))] ^= rng.randint(1, 255)
        return [bytes(broken), data[: rng.randrange(len(data))], rng.randbytes(40)]

    server, client = pair()
    shake(server, client, change=damage)
    if server.keys and client.keys:
        assert server.keys.send == client.keys.receive


@pytest.mark.parametrize(
    "text",
    ["", "sha-256", "sha-256 AB:CD", "sha-1 " + ":".join(["AA"] * 20), "sha-256 " + ":".join(["ZZ"] * 32), "md5 00"],
)
def test_a_fingerprint_that_is_malformed_or_weak_is_none(text):
    assert Fingerprint.parse(text) is None


def test_a_fingerprint_is_written_as_it_is_read():
    assert Fingerprint.parse(str(US.fingerprint)) == US.fingerprint
    assert Fingerprint.parse(str(US.fingerprint).replace("sha", "SHA").lower()) == US.fingerprint


def test_application_data_goes_both_ways_once_the_right_peer_is_there():
    server, client = pair()
    assert not server.send_application(b"too early")
    shake(server, client)
    assert client.send_application(b"one")
    assert client.send_application(bytes(1_200))
    for data in client.poll():
        server.receive(data, 0)
    assert server.application() == [b"one", bytes(1_200)]
    assert server.application() == []
    assert server.send_application(b"back")
    for data in server.poll():
        client.receive(data, 0)
    assert client.application() == [b"back"]
    client.close()
    assert not client.send_application(b"too late")


def test_application_data_of_the_wrong_peer_is_never_read():
    server, client = DtlsEndpoint(US, client=False), DtlsEndpoint(THEM, client=True)
    server.expect(DtlsIdentity().fingerprint)
    client.expect(US.fingerprint)
    shake(server, client)
    client.send_application(b"let me in")
    for data in client.poll():
        server.receive(data, 0)
    assert server.application() == []


def test_the_certificate_is_renewed_on_its_day_and_not_a_second_sooner():
    clock = VirtualClock()
    identities = DtlsIdentities(clock)
    first = identities.current()
    clock.advance(DTLS_CERTIFICATE_RENEW_DAYS * 86_400 * 10**9 - 10**9)
    assert identities.current() is first
    clock.advance(10**9)
    second = identities.current()
    assert second.fingerprint != first.fingerprint
    assert identities.current() is second
