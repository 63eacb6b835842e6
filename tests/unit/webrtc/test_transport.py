"""ICE and DTLS together, against a browser's end without sockets."""

import asyncio
import secrets

import pytest

from mediaserver.model import MediaAddress
from mediaserver.sdp.negotiate import LocalMedia, MediaPolicy
from mediaserver.sdp.webrtc import LocalTransport, WebRtcNegotiator
from mediaserver.webrtc.dtls import DtlsIdentity, DtlsState
from mediaserver.webrtc.transport import WebRtcTransport
from tests.support.fake_browser import ADDRESS, FakeBrowser
from tests.support.fakes import LoopClock

US = DtlsIdentity()
STRANGER = MediaAddress("203.0.113.9", 666)


class Rig:
    """A browser that called us, our answer given; nothing sent yet."""

    def __init__(self, *, setup="actpass", fingerprint=None):
        self.browser = FakeBrowser(client=setup != "passive")
        if fingerprint:
            self.browser.fingerprint = fingerprint
        self.sent = []
        self.changes = 0
        self.transport = WebRtcTransport(US, LoopClock(), lambda data, to: self.sent.append((data, to)), self._changed)
        negotiator = WebRtcNegotiator(MediaPolicy(("opus",)), session_id=1)
        negotiator.local = LocalMedia("192.0.2.1", 4_000, 4_001)
        ice = self.transport.ice.local
        negotiator.transport = LocalTransport(ice.ufrag, ice.password, str(US.fingerprint))
        negotiator.read_offer(self.browser.offer(setup=setup))
        self.browser.take(negotiator.write_answer())
        self.peer = negotiator.peer

    def _changed(self):
        self.changes += 1

    def describe(self):
        peer = self.peer
        self.transport.describe(peer.ufrag, peer.password, peer.fingerprints, client=peer.setup == "passive")

    def carry(self, source=ADDRESS):
        """Datagrams to and fro until both are silent."""
        while self.sent:
            data, to = self.sent.pop(0)
            assert to == ADDRESS
            for reply in self.browser.receive(data):
                self.transport.receive(reply, source)

    def connect(self):
        self.describe()
        self.transport.receive(self.browser.check(), ADDRESS)
        self.carry()


@pytest.mark.parametrize("setup", ["actpass", "active", "passive"])
async def test_a_check_and_a_handshake_give_keys_and_an_address(setup):
    rig = Rig(setup=setup)
    waiting = asyncio.ensure_future(rig.transport.wait_ready())
    rig.connect()
    assert await waiting
    assert rig.transport.address == ADDRESS
    assert rig.transport.keys.send == rig.browser.dtls.keys.receive
    assert rig.transport.keys.receive == rig.browser.dtls.keys.send
    assert rig.changes == 2
    rig.transport.close()


async def test_a_handshake_before_the_description_waits_for_its_fingerprint():
    rig = Rig()
    rig.transport.receive(rig.browser.check(), ADDRESS)
    rig.carry()
    assert rig.browser.dtls.state is DtlsState.CONNECTED
    assert rig.transport.keys is None
    rig.describe()
    assert rig.transport.is_ready
    rig.transport.close()


async def test_a_wrong_fingerprint_means_no_keys_and_says_why():
    rig = Rig(fingerprint=str(DtlsIdentity().fingerprint))
    waiting = asyncio.ensure_future(rig.transport.wait_ready())
    rig.connect()
    assert not await waiting
    assert rig.transport.keys is None
    assert "fingerprint" in rig.transport.failure


async def test_dtls_of_an_address_that_passed_no_check_is_not_even_looked_at():
    rig = Rig()
    rig.describe()
    rig.browser.dtls.start(0)
    for data in rig.browser.dtls.poll():
        rig.transport.receive(data, STRANGER)
    assert rig.sent == []
    assert rig.transport.dropped["unproven source"] == 1
    rig.transport.close()


async def test_a_replayed_check_from_another_address_does_not_move_the_media_of_a_wrong_password():
    rig = Rig()
    rig.connect()
    other = FakeBrowser(address=STRANGER)
    rig.transport.receive(other.check(), STRANGER)
    assert rig.transport.address == ADDRESS
    assert rig.sent == []
    rig.transport.close()


async def test_noise_of_every_first_byte_is_dropped():
    rig = Rig()
    rig.describe()
    for first in range(256):
        rig.transport.receive(bytes([first]) + secrets.token_bytes(40), STRANGER)
    rig.transport.receive(b"", STRANGER)
    assert rig.sent == []
    assert rig.transport.address is None
    rig.transport.close()


async def test_consent_that_runs_out_takes_the_address_away_and_a_new_check_brings_it_back():
    rig = Rig()
    rig.connect()
    await asyncio.sleep(29.9)
    assert rig.transport.address == ADDRESS
    await asyncio.sleep(0.2)
    assert rig.transport.address is None
    assert rig.transport.keys is not None
    rig.transport.receive(rig.browser.check(), ADDRESS)
    assert rig.transport.is_ready
    rig.transport.close()


async def test_a_handshake_that_does_not_end_fails_after_twenty_seconds():
    rig = Rig()
    rig.describe()
    rig.transport.receive(rig.browser.check(), ADDRESS)
    rig.browser.dtls.start(0)
    rig.transport.receive(rig.browser.dtls.poll()[0], ADDRESS)
    assert not await rig.transport.wait_ready()
    assert rig.transport.failure
    assert asyncio.get_running_loop().time() < 21


async def test_closing_says_good_bye_and_ends_the_wait():
    rig = Rig()
    waiting = asyncio.ensure_future(rig.transport.wait_ready())
    await asyncio.sleep(0)
    rig.transport.close()
    assert not await waiting
    rig = Rig()
    rig.connect()
    rig.transport.close()
    rig.carry()
    assert rig.browser.dtls.state is DtlsState.CLOSED
    rig.transport.close()


async def test_a_description_with_weak_hashes_only_fails():
    rig = Rig()
    rig.transport.describe("brow", "x" * 22, ("sha-1 AA:BB",), client=False)
    assert not await rig.transport.wait_ready()


async def test_data_inside_dtls_reaches_its_taker_and_goes_back_to_the_nominated_address():
    rig = Rig()
    heard = []
    rig.transport.on_application = heard.append
    rig.transport.send_application(b"nobody is there yet")
    rig.connect()
    rig.browser.dtls.send_application(b"sctp")
    for data in rig.browser.dtls.poll():
        rig.transport.receive(data, ADDRESS)
    assert heard == [b"sctp"]
    rig.transport.send_application(b"answer")
    rig.carry()
    assert rig.browser.dtls.application() == [b"answer"]
    rig.transport.close()
    rig.transport.send_application(b"after the end")
    assert [data for data, _ in rig.sent if data[0] == 23] == []
