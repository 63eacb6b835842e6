"""Has a browser write offers and answers: `python make_vectors.py chromium|firefox-esr FOLDER`. Run once, by hand."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from aiohttp import web

PAGE = """<!doctype html><title>vectors</title><script>
const gathered = (peer) => new Promise((done) => {
  if (peer.iceGatheringState === "complete") done();
  peer.onicegatheringstatechange = () => peer.iceGatheringState === "complete" && done();
});
const keep = (name, text) => fetch(`/keep/${name}`, { method: "POST", body: text });
const picture = () => {
  const canvas = document.createElement("canvas");
  canvas.width = 640; canvas.height = 360; canvas.getContext("2d").fillRect(0, 0, 9, 9);
  return canvas.captureStream(5);
};
async function offer(peer, name) {
  await peer.setLocalDescription(await peer.createOffer());
  await gathered(peer);
  await keep(name, peer.localDescription.sdp);
}
(async () => {
  const media = await navigator.mediaDevices.getUserMedia({ audio: true, video: true });
  const peer = new RTCPeerConnection();
  peer.addTrack(media.getAudioTracks()[0], media);
  await offer(peer, "audio");
  const other = new RTCPeerConnection();
  await other.setRemoteDescription(peer.localDescription);
  await other.setLocalDescription(await other.createAnswer());
  await gathered(other);
  await peer.setRemoteDescription(other.localDescription);
  const layers = [{ rid: "q", scaleResolutionDownBy: 4 }, { rid: "h", scaleResolutionDownBy: 2 }, { rid: "f" }];
  const camera = peer.addTransceiver(media.getVideoTracks()[0],
    { direction: "sendrecv", streams: [media], sendEncodings: layers });
  await offer(peer, "simulcast");
  const screen = picture();
  const second = peer.addTransceiver(screen.getVideoTracks()[0], { direction: "sendonly", streams: [screen] });
  peer.createDataChannel("chat");
  await offer(peer, "simulcast-screen-data");
  await other.setRemoteDescription(peer.localDescription);
  await other.setLocalDescription(await other.createAnswer());
  await gathered(other);
  await keep("answer-to-simulcast-screen-data", other.localDescription.sdp);
  await peer.setRemoteDescription(other.localDescription);
  second.stop();
  await offer(peer, "screen-stopped");
  const viewer = new RTCPeerConnection();
  viewer.addTransceiver("audio", { direction: "recvonly" });
  viewer.addTransceiver("video", { direction: "recvonly" });
  await offer(viewer, "viewer");
  await keep("done", "");
})().catch((error) => keep("failed", String(error)));
</script>"""
FIREFOX = {
    "media.navigator.permission.disabled": "true",
    "media.navigator.streams.fake": "true",
    "media.peerconnection.ice.loopback": "true",
    "media.peerconnection.ice.obfuscate_host_addresses": "false",
    "media.gmp-manager.updateEnabled": "false",
}
CHROMIUM = ("--headless=new", "--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")


async def main(browser: str, folder: Path) -> None:
    done = asyncio.Event()

    async def keep(request: web.Request) -> web.Response:
        name, text = request.match_info["name"], await request.read()
        if name in ("done", "failed"):
            print(name, text.decode())
            done.set()
        else:
            (folder / f"{browser.removesuffix('-esr')}-{name}.sdp").write_bytes(text)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", lambda _: web.Response(text=PAGE, content_type="text/html"))
    app.router.add_post("/keep/{name}", keep)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 18_099).start()
    with tempfile.TemporaryDirectory() as profile:
        lines = [f'user_pref("{name}", {value});' for name, value in FIREFOX.items()]
        (Path(profile) / "user.js").write_text("\n".join(lines))
        flags = [*CHROMIUM, f"--user-data-dir={profile}"]
        if browser == "firefox-esr":
            flags = ["--headless", "--no-remote", "--profile", profile]
        process = await asyncio.create_subprocess_exec(browser, *flags, "http://localhost:18099/")
        try:
            await asyncio.wait_for(done.wait(), 90)
        finally:
            process.terminate()
            await process.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
