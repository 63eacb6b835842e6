"""Our quality reports to a collector: one PUBLISH each, no more than a bound on their way. RFC 6035 §3."""

from __future__ import annotations

import pytest

from mediaserver.limits import QUALITY_PUBLISHES_MAX
from mediaserver.settings import Settings
from mediaserver.sip.publisher import QualityPublisher
from tests.support.sip_net import Network, Script, Site

OURS, COLLECTOR = ("192.0.2.1", 5060), ("192.0.2.70", 5090)
SETTINGS = Settings.model_validate(
    {"server": {"realm": "home"}, "quality": {"report_to": "sip:collector@192.0.2.70:5090"}}
)


class Collector(Script):
    def __init__(self) -> None:
        self.net = Network()
        self.site = Site(self.net, OURS, settings=SETTINGS)
        super().__init__(self.net, COLLECTOR)

    @property
    def publisher(self) -> QualityPublisher:
        assert self.site.ua.publisher is not None
        return self.site.ua.publisher

    def told(self, body: bytes) -> None:
        self.publisher.publish(body)
        self.net.run(0.05)


@pytest.fixture
def collector() -> Collector:
    return Collector()


def test_a_report_is_published_whole_to_the_collector(collector):
    collector.told(b"VQSessionReport: CallTerm\r\nCallID: a@b\r\n")
    publish = collector.take("PUBLISH")
    assert publish.uri == "sip:collector@192.0.2.70:5090"
    assert str(publish.to.uri) == "sip:collector@192.0.2.70:5090"
    assert publish.headers.get("From").startswith("<sip:home>;tag=")
    assert (publish.headers.get("Event"), publish.headers.get("Content-Type")) == (
        "vq-rtcpxr",
        "application/vq-rtcpxr",
    )
    assert publish.body == b"VQSessionReport: CallTerm\r\nCallID: a@b\r\n"
    collector.answer(publish, 200, contact=False)
    collector.net.run(0.05)
    assert (collector.publisher.sent, collector.publisher.refused) == (1, 0)


def test_each_report_is_a_request_of_its_own(collector):
    ids = []
    for body in (b"one", b"two"):
        collector.clear()
        collector.told(body)
        publish = collector.take("PUBLISH")
        ids.append(publish.headers.get("Call-ID"))
        collector.answer(publish, 200, contact=False)
        collector.net.run(0.05)
    assert len(set(ids)) == 2


def test_a_collector_that_refuses_or_is_away_costs_counters_only(collector):
    collector.told(b"x")
    collector.answer(collector.take("PUBLISH"), 489, contact=False)
    collector.net.run(0.05)
    assert collector.publisher.refused == 1
    for _ in range(QUALITY_PUBLISHES_MAX + 3):
        collector.publisher.publish(b"y")
    assert collector.publisher.dropped == 3
    collector.net.run(33)
    assert collector.publisher.refused == 1 + QUALITY_PUBLISHES_MAX
    collector.clear()
    collector.told(b"z")
    assert collector.take("PUBLISH").body == b"z"


@pytest.mark.parametrize("status", [302, 400, 401, 403, 407, 408, 423, 429, 480, 500, 503, 603])
def test_whatever_a_collector_answers_the_next_report_goes_out(collector, status):
    for body in (b"x", b"y"):
        collector.clear()
        collector.told(body)
        publish = collector.take("PUBLISH")
        assert publish.body == body
        collector.answer(publish, status, contact=False)
        collector.net.run(0.05)
    assert (collector.publisher.sent, collector.publisher.refused) == (0, 2)
    collector.clear()
    collector.net.run(40)
    assert not collector.inbox, "a report is sent once, whatever was answered"


def test_a_collector_that_takes_its_time_is_waited_for_and_one_too_slow_is_not_counted_twice(collector):
    collector.told(b"slow")
    publish = collector.take("PUBLISH")
    collector.net.run(20)
    assert (collector.publisher.sent, collector.publisher.refused) == (0, 0)
    collector.answer(publish, 200, contact=False)
    collector.net.run(0.05)
    assert (collector.publisher.sent, collector.publisher.refused) == (1, 0)
    collector.clear()
    collector.told(b"too slow")
    publish = collector.take("PUBLISH")
    collector.net.run(33)  # timer F, 32 s
    assert (collector.publisher.sent, collector.publisher.refused) == (1, 1)
    collector.answer(publish, 200, contact=False)
    collector.net.run(0.05)
    assert (collector.publisher.sent, collector.publisher.refused) == (1, 1)


def test_without_a_collector_nothing_is_made():
    site = Site(Network(), OURS, settings=Settings.model_validate({"server": {"realm": "home"}}))
    assert site.ua.publisher is None
