"""Does what ops hear of a server reach them? A running server among the real things that watch one.

    python benchmarks/watching.py            some two minutes; prints a line for each thing seen
    python benchmarks/watching.py --record   also appends a line to benchmarks/history/watching.jsonl

Calls of a trunk, good ones, ones that lose a quarter and ones that send nothing, some recorded, and around them: a
Prometheus that scrapes /metrics and evaluates our rules (as shipped, and with minutes made seconds), every query of the
Grafana dashboards put to that Prometheus; a receiver of alerts that checks their signature; a receiver of
OpenTelemetry that decodes the traces by OpenTelemetry's own messages; a collector of quality reports that refuses, is
slow, or is silent, while an echo is timed. Ends with an error if anything is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import hmac
import http.server
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # noqa: E402

from benchmarks._history import append  # noqa: E402
from tests.support.rawcall import RawCall  # noqa: E402
from tests.support.server import Server  # noqa: E402

PORT, PROMETHEUS, HOOKS, COLLECTOR = 15_980, 15_990, 15_991, 15_992
SECRET = "a secret of the receiver"
CALL_S, BAD_EACH, BAD_RUN = 45, 8, 2  # of every eight packets two are lost
TONE = bytes((0x1F, 0x20, 0x9F, 0xA0) * 40)
CONFIG = ROOT / "config"
# Number, whether it loses packets, whether it says nothing. The second ones while the first ones' reports are refused.
FIRST = (("603", False), ("603", True), ("604", True), ("604", True), ("601", False, True), ("601", False, True))
SECOND = (("603", False), ("603", True), ("603", True))
# Empty in this scene, and why; anything else must have a value.
NO_DATA = {
    "mediaserver_calls_refused_total": "no call was refused",
    "mediaserver_sip_timeouts_total": "no transaction timed out before the collector's",
    "mediaserver_sip_parse_errors_total": "no message was broken",
    'scale="wb"': "no wideband call",
    "media_rtt_seconds_bucket": "the callers send no RTCP",
}


class Receiver(http.server.ThreadingHTTPServer):
    """Alerts and traces, as they are posted."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        self.forged = 0
        self.spans: list[Any] = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.path == "/v1/traces":
                    for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                        receiver.spans += [span for scope in resource.scope_spans for span in scope.spans]
                else:
                    stamp = self.headers["X-Mediaserver-Timestamp"]
                    made = hmac.new(SECRET.encode(), f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
                    receiver.forged += self.headers["X-Mediaserver-Signature"] != f"v1={made}"
                    receiver.alerts.append(json.loads(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", HOOKS), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Collector:
    """Of quality reports: answers 403, 503, 401, then after two seconds, then never."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", COLLECTOR))
        self.reports: list[str] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        answers = ["403 Forbidden", "503 Service Unavailable", "401 Unauthorized", "200 OK"]
        known: dict[str, int] = {}
        while True:
            data, source = self.socket.recvfrom(65_535)
            text = data.decode()
            call_id = re.search(r"^(?:Call-ID|i): *(\S+)", text, re.M | re.I)
            assert call_id
            if call_id[1] in known:
                continue
            number = known[call_id[1]] = len(known)
            self.reports.append(text)
            if number < len(answers):
                kept = [
                    line
                    for line in text.split("\r\n")
                    if re.match(r"(Via|From|To|Call-ID|CSeq|v|f|t|i) ?:", line, re.I)
                ]
                answer = "\r\n".join([f"SIP/2.0 {answers[number]}", *kept, "Content-Length: 0", "", ""]).encode()
                threading.Timer(2.0 if number == 3 else 0.0, self.socket.sendto, (answer, source)).start()


def shortened(rules: str) -> str:
    """The same expressions over seconds: 5 m are 25 s, 24 h two minutes, and nothing has to hold for minutes."""
    rules = re.sub(r"^(\s+)interval: .*$", r"\1interval: 1s", rules, flags=re.M)
    rules = re.sub(r"^(\s+)for: .*$", r"\1for: 5s", rules, flags=re.M)
    for long, short in (("24h", "120s"), ("15m", "60s"), ("10m", "50s"), ("5m", "25s")):
        rules = rules.replace(f"[{long}]", f"[{short}]").replace(f"offset {long}", f"offset {short}")
    return rules


class Prometheus:
    def __init__(self, folder: Path, metrics: str) -> None:
        folder.mkdir()
        (folder / "shipped.yml").write_text((CONFIG / "prometheus" / "rules.yml").read_text())
        (folder / "short.yml").write_text(
            shortened((CONFIG / "prometheus" / "rules.yml").read_text()).replace("- name: ", "- name: short-")
        )
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\nrule_files: [shipped.yml, short.yml]\n"
            f"scrape_configs:\n  - job_name: mediaserver\n    static_configs: [{{targets: ['{metrics}']}}]\n"
        )
        self.log = (folder / "log.txt").open("ab")
        self.process = subprocess.Popen(
            ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{PROMETHEUS}"],
            stdout=self.log, stderr=self.log,
        )  # fmt: skip

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{PROMETHEUS}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=10) as response:
            return json.load(response)["data"]

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()
        self.log.close()


def call(server: Server, number: str, lossy: bool = False, silent: bool = False) -> list[float]:
    """One call; returns how long each echo took, in ms."""
    took: list[float] = []
    caller = RawCall((server.host, server.base_port), number)
    assert caller.dial() == 200, f"{number}: {caller.status}"
    sent: dict[int, float] = {}
    stop = threading.Event()

    def listen() -> None:
        caller.rtp.settimeout(0.2)
        while not stop.is_set():
            try:
                caller.rtp.recv(2_048)
            except TimeoutError:
                continue
            if sent:
                took.append((time.monotonic() - sent[max(sent)]) * 1e3)

    listener = threading.Thread(target=listen)
    listener.start()
    began = time.monotonic()
    for n in range(50 * CALL_S):
        pause = began + n / 50 - time.monotonic()
        if pause > 0:
            time.sleep(pause)
        packet = caller.next_packet(TONE)
        if silent or (lossy and n % BAD_EACH < BAD_RUN):
            continue
        sent[n] = time.monotonic()
        caller.rtp.sendto(packet, caller.media)
    caller.hang_up()
    stop.set()
    listener.join()
    caller.close()
    return took


def queries() -> list[tuple[str, str, str]]:
    """Dashboard, panel, and what it asks, with Grafana's own variable filled in."""
    found = []
    for path in sorted((CONFIG / "grafana").glob("*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            found += [
                (path.stem, panel["title"], target["expr"].replace("$__rate_interval", "15s"))
                for target in panel["targets"]
            ]
    return found


class Seen:
    def __init__(self) -> None:
        self.missing: list[str] = []
        self.figures: dict[str, object] = {}

    def say(self, what: str, fine: object, told: object) -> None:
        print(f"{'   ' if fine else 'NO '} {what:44} {told}", flush=True)
        self.figures[what] = told
        if not fine:
            self.missing.append(what)


def check_prometheus(prometheus: Prometheus, seen: Seen, began: float) -> None:
    (target,) = prometheus.ask("targets")["activeTargets"]
    seen.say("Prometheus scrapes the server", target["health"] == "up", target["health"])
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    sick = [rule["name"] for rule in rules if rule["health"] != "ok"]
    seen.say("rules that evaluate, shipped and short", not sick, f"{len(rules)} of which not: {sick}")
    fired = prometheus.ask("query_range", query='count_over_time(ALERTS{alertstate="firing"}[1s])', start=str(began),
                           end=str(time.time()), step="1")["result"]  # fmt: skip
    names = {series["metric"]["alertname"] for series in fired}
    seen.say("alerts that fired there", {"TrunkSoundsBad", "OneWayAudio"} <= names, sorted(names))
    empty: list[str] = []
    wrong: list[str] = []
    for board, panel, expression in queries():
        result = prometheus.ask("query_range", query=expression, start=str(began), end=str(time.time()), step="5")[
            "result"
        ]
        if not any(value != "NaN" for series in result for _, value in series["values"]):
            (empty if any(word in expression for word in NO_DATA) else wrong).append(f"{board}: {panel}: {expression}")
    for one in wrong:
        print("     no data:", one)
    for one in empty:
        print("     empty, as it should be:", one)
    seen.say(
        "dashboard queries with data", not wrong, f"{len(queries()) - len(empty) - len(wrong)} of {len(queries())}"
    )
    seen.figures["dashboard queries empty for a reason"] = len(empty)
    series = sum(1 for _ in prometheus.ask("series", **{"match[]": '{job="mediaserver"}'}))
    seen.say("series of the server", series <= 2_000, series)


def check_trace(receiver: Receiver, seen: Seen) -> None:
    by_trace: dict[bytes, list[Any]] = {}
    for span in receiver.spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    roots = [span for span in receiver.spans if not span.parent_span_id]
    names = Counter(span.name for span in receiver.spans)
    whole = [
        trace for trace in by_trace.values()
        if {"call", "ring", "talk"} <= {span.name for span in trace}
        and all(span.end_time_unix_nano >= span.start_time_unix_nano for span in trace)
    ]  # fmt: skip
    seen.say("traces decoded, whole", len(whole) == len(by_trace) == len(roots) > 0, f"{len(whole)}: {dict(names)}")
    legs = [{a.key: a.value for a in span.attributes} for span in receiver.spans if span.name.startswith("leg ")]
    worst = min((a["quality.received.mos"].double_value for a in legs if "quality.received.mos" in a), default=0.0)
    received = sum(a["rtp.received"].int_value for a in legs if "rtp.received" in a)
    seen.say(
        "with counters and scores of each leg", legs and 1 <= worst < 3.6, f"worst MOS {worst}, {received} packets"
    )


async def scene(folder: Path, seen: Seen) -> None:
    receiver, collector = Receiver(), Collector()
    extra = f"""
[trunks.carrier]
uri = "sip:127.0.0.1:5998"
allow_from = ["127.0.0.1"]
[quality]
interval_s = 1
report_to = "sip:collector@127.0.0.1:{COLLECTOR}"
[alerts]
webhook_url = "http://127.0.0.1:{HOOKS}/alerts"
webhook_secret = "{SECRET}"
window_s = 20
[traces]
endpoint = "http://127.0.0.1:{HOOKS}/v1/traces"
"""
    routes = '[[route]]\nname = "kept"\nnumber = "604"\nprogram = "echo"\nrecord = true\noptions = { intro = false }\n'
    server = Server(folder / "server", PORT, extra=extra, routes=routes, rtp_ports="29400-29499", max_calls=20)
    await server.start()
    prometheus = Prometheus(folder / "prometheus", f"127.0.0.1:{PORT + 3}")
    began = time.time()
    try:
        calm, *_ = await asyncio.gather(*(asyncio.to_thread(call, server, *one) for one in FIRST))
        troubled, *_ = await asyncio.gather(*(asyncio.to_thread(call, server, *one) for one in SECOND))
        check_prometheus(prometheus, seen, began)
    finally:
        prometheus.stop()
    apart = statistics.median(troubled) - statistics.median(calm)
    seen.say("reports sent to the collector", len(collector.reports) >= 5, len(collector.reports))
    publish = [text for text in collector.reports if text.startswith("PUBLISH ") and "VQSessionReport" in text]
    seen.say("of these session reports by PUBLISH", len(publish) == len(collector.reports), len(publish))
    seen.say("an echo while it refuses and is silent, ms", apart < 20, round(apart, 2))
    names = Counter((alert["alert"], alert["state"]) for alert in receiver.alerts)
    firing = {name for name, state in names if state == "firing"}
    seen.say("alerts by webhook, signed", {"trunk_mos_low", "one_way_audio"} <= firing and not receiver.forged,
             {f"{name} {state}": n for (name, state), n in sorted(names.items())})  # fmt: skip
    code, out, err = await server.cli("quality", "worst", "--json")
    calls = json.loads(out) if code == 0 else []
    seen.say(
        "mediaserver quality worst",
        len(calls) >= 7,
        f"{len(calls)} rows, worst {calls[0]['mos_worst'] if calls else err}",
    )
    await server.stop()
    check_trace(receiver, seen)
    bad = [line for line in server.log().splitlines() if "Traceback" in line]
    seen.say("tracebacks in the log", not bad, len(bad))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="append a line to benchmarks/history/watching.jsonl")
    arguments = parser.parse_args()
    seen = Seen()
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(scene(Path(folder), seen))
    if arguments.record:
        print(append("watching", {**seen.figures, "missing": seen.missing}))
    if seen.missing:
        sys.exit(f"missing: {', '.join(seen.missing)}")


if __name__ == "__main__":
    main()
