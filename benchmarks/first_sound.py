"""From the click on "Call" to the first sound in the browser: the phone page in Chromium, an echo at the other end.

    python benchmarks/first_sound.py             prints the calls of one browser, the first one cold
    python benchmarks/first_sound.py --record    also appends a line to benchmarks/history/first_sound.jsonl

The microphone is a tone that never stops; what is timed is when the tone comes back, decoded and past the browser's
jitter buffer, as a sample that would be heard: it has been through getUserMedia, INVITE with its challenge, ICE, DTLS,
the server's echo and NetEQ. "first packet" is when the browser says that sound arrives. All on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks._history import append  # noqa: E402
from tests.support.page import Browser  # noqa: E402
from tests.support.server import Server  # noqa: E402
from tests.support.speech import tone  # noqa: E402

PORT = 15_900
CALLS = 9
ONE_CALL = """
(async () => {
  const phone = document.querySelector("phone-app").phone;
  const input = document.querySelector("#number");
  input.value = "603";
  input.dispatchEvent(new Event("input"));
  await document.querySelector("phone-app").updateComplete;
  const begun = performance.now();
  document.querySelector("button.call").click();
  const context = new AudioContext();
  let analyser = null;
  let heard = null;
  for (let i = 0; i < 1500 && heard === null; i++) {
    await new Promise((done) => setTimeout(done, 2));
    const stream = phone.current?.remoteAudio;
    if (stream && !analyser) {
      analyser = context.createAnalyser();
      analyser.fftSize = 256;
      context.createMediaStreamSource(stream).connect(analyser);
    }
    if (!analyser) continue;
    const block = new Float32Array(analyser.fftSize);
    analyser.getFloatTimeDomainData(block);
    if (Math.max(...block) > 0.005) heard = performance.now() - begun;
  }
  const call = phone.current;
  const packet = call.firstSoundMs;
  call.hangUp();
  phone.drop(call);
  await context.close();
  return { heard, packet };
})()
"""


async def measure(folder: Path) -> list[dict[str, Any]]:
    server = Server(folder / "server", PORT, {"100": "of-100"}, rtp_ports="29000-29199", max_calls=20)
    browser = Browser(folder / "browser", tone(folder / "tone.wav", 700.0, 5, 48_000))
    try:
        await server.start()
        await browser.start()
        page = await browser.open(f"https://127.0.0.1:{PORT + 2}/phone")
        await page.sign_in("100", "of-100")
        calls = []
        for _ in range(CALLS):
            await asyncio.sleep(1)
            calls.append(await page.evaluate(ONE_CALL))
        return calls
    finally:
        await browser.stop()
        await server.stop(20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--record", action="store_true", help="append the figures to benchmarks/history/first_sound.jsonl"
    )
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        calls = asyncio.run(measure(Path(folder)))
    for call in calls:
        print(f"first packet {call['packet']:6.0f} ms   first sound {call['heard']:6.0f} ms")
    figures = {
        "cold_ms": round(calls[0]["heard"]),
        "median_ms": round(statistics.median(call["heard"] for call in calls[1:])),
        "worst_ms": round(max(call["heard"] for call in calls[1:])),
        "median_first_packet_ms": round(statistics.median(call["packet"] for call in calls[1:])),
    }
    print(figures)
    if arguments.record:
        append(
            "first_sound",
            {
                "figures": figures,
            },
        )


if __name__ == "__main__":
    main()
