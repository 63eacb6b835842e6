"""A call as a collector of traces sees it: read back from the wire by OpenTelemetry's own message definitions."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from mediaserver.limits import TRACE_EVENTS_PER_LEG_MAX
from mediaserver.model import CallFacts, Cause, LegFacts, LegHandle, Masked
from mediaserver.quality.traces import Traces
from mediaserver.settings import TraceSettings
from tests.unit.api.fake_facade import score
from tests.unit.quality.test_monitor import STREAM, stats

NUMBER, SPOKEN = "+49123456789", "Anna Example"
BEGAN = 1_790_000_000.0


class Collector(http.server.ThreadingHTTPServer):
    """Keeps what is posted to it."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.asked: list[dict[str, str]] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collector.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                collector.asked.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"

    def spans(self) -> dict[str, Any]:
        found = {}
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    found.update({span.name: span for span in scope.spans})
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def leg(**changes: Any) -> LegFacts:
    facts: dict[str, Any] = {"codec": "opus/48000", "state": "talking", "ended_wall": BEGAN + 9.0, **changes}
    return LegFacts("1", LegHandle(1), "caller", Masked(NUMBER), "user:anna", "sip-1@x", 0, BEGAN, **facts)


def call(**changes: Any) -> CallFacts:
    facts: dict[str, Any] = {
        "answered_wall": BEGAN + 2.0,
        "ended_wall": BEGAN + 10.0,
        "cause": Cause.REMOTE_HANGUP,
        "ended_by": "caller",
        "recording_id": "r-1",
        "identity": "trunk:north",
        "legs": (leg(),),
        **changes,
    }
    who = {"caller": Masked(NUMBER), "called": Masked(NUMBER), "caller_name": Masked(SPOKEN)}
    return CallFacts("c1", **who, route="sales", program="dial", started_ns=0, started_wall=BEGAN, **facts)


async def exported(collector: Collector, *calls: CallFacts, **settings: Any) -> None:
    traces = Traces(TraceSettings(endpoint=collector.endpoint, **settings), lambda: BEGAN + 3.0)
    await traces.start()
    for ended in calls:
        traces.call_started(ended)
        traces.leg_opened("c1", leg(), STREAM)
        for _ in range(2 * TRACE_EVENTS_PER_LEG_MAX):
            traces.leg_changed("c1", leg(state="held"), STREAM)
        traces.leg_closed("c1", leg(), stats(packets_lost=7))
        traces.score(score(3.2, whole_call=1))
        traces.call_ended(ended)
    await traces.stop()


def attributes(span: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}


async def test_a_call_is_one_trace_with_its_ringing_talk_and_legs(collector: Collector) -> None:
    await exported(collector, call(), headers={"Authorization": "Bearer t0ken"})
    spans = collector.spans()
    assert set(spans) == {"call", "ring", "talk", "leg caller"}
    assert len({span.trace_id for span in spans.values()}) == 1
    assert {span.parent_span_id for name, span in spans.items() if name != "call"} == {spans["call"].span_id}
    lengths = {name: (s.end_time_unix_nano - s.start_time_unix_nano) / 1e9 for name, s in spans.items()}
    assert lengths == {"call": 10.0, "ring": 2.0, "talk": 8.0, "leg caller": 9.0}
    told = attributes(spans["call"])
    assert (told["call.id"], told["call.trunk"], told["call.recording_id"]) == ("c1", "north", "r-1")
    told = attributes(spans["leg caller"])
    assert (told["sip.call_id"], told["leg.codec"], told["rtp.lost"]) == ("sip-1@x", "opus/48000", 7)
    assert [value for name, value in told.items() if name.endswith(".mos")] == [3.2]
    events = spans["leg caller"].events
    assert [event.name for event in events[:2]] == ["media", "media changed"]
    assert len(events) == TRACE_EVENTS_PER_LEG_MAX
    assert collector.asked[0]["authorization"] == "Bearer t0ken"


async def test_nothing_that_names_a_person_leaves(collector: Collector) -> None:
    await exported(collector, call(identity="user:anna"))
    assert collector.bodies
    for secret in (NUMBER, NUMBER[1:], SPOKEN, "anna"):
        assert not [body for body in collector.bodies if secret.encode() in body]


async def test_a_call_that_failed_is_an_error_and_one_never_answered_has_no_talk(collector: Collector) -> None:
    await exported(collector, call(answered_wall=None, cause=Cause.PROGRAM_ERROR))
    spans = collector.spans()
    assert "talk" not in spans
    assert (spans["call"].status.code, spans["call"].status.message) == (2, "program_error")


async def test_a_share_of_nothing_sends_nothing(collector: Collector) -> None:
    await exported(collector, call(), sample_share=0.0)
    assert not collector.bodies


async def test_a_collector_that_is_away_costs_nobody_anything() -> None:
    traces = Traces(TraceSettings(endpoint="http://127.0.0.1:9/v1/traces"), lambda: BEGAN)
    traces.leg_opened("never begun", leg(), STREAM)
    traces.call_ended(call())
    for _ in range(3):
        traces.call_started(call())
        traces.call_ended(call())
    assert not traces._running
    await traces.stop()
