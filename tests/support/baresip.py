"""Drives Debian's baresip as a phone: one process, its own folder, commanded over its ctrl_tcp module.

What it hears is written by its sndfile module as `dump-…-dec.wav`, what it says as `dump-…-enc.wav`.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from pathlib import Path

MODULES = Path("/usr/lib/baresip/modules")
# The accounts file names codecs, so their modules load before account.so.
MODULES_LOADED = (
    "g711.so",
    "g722.so",
    "opus.so",
    "l16.so",
    "srtp.so",
    "aufile.so",
    "aubridge.so",
    "sndfile.so",
    "account.so",
)


VIDEO_MODULES = ("vp8.so", "avcodec.so", "avformat.so", "fakevideo.so", "snapshot.so", "swscale.so")


@dataclass
class Baresip:
    folder: Path
    sip_port: int
    control_port: int  # not sip_port + 1: baresip listens for TLS there
    speech: Path  # wav, s16 mono at `rate_hz`
    rate_hz: int  # of the codec's audio: baresip's file source does not resample
    codecs: tuple[str, ...]  # e.g. ("PCMU/8000/1",)
    srtp: str = ""  # "" or "srtp-mand"
    host: str = "127.0.0.1"
    user: str = ""
    password: str = ""
    server: str = ""  # host:port
    transport: str = "udp"
    answer: str = "auto"
    rtp_ports: str = "39000-39999"
    film: Path | None = None  # numbered pictures for a camera (numbered.write_film); None: no video
    video_codec: str = "VP8"  # or "h264"
    events: list[dict[str, object]] = field(default_factory=list)
    _process: asyncio.subprocess.Process | None = None
    _reader: asyncio.Task[None] | None = None
    _writer: asyncio.StreamWriter | None = None
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)

    def _write_configuration(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"sip_listen {self.host}:{self.sip_port}",
            f"net_interface {self.host}",
            f"module_path {MODULES}",
            *(f"module {name}" for name in (*(VIDEO_MODULES if self.film else ()), *MODULES_LOADED)),
            "module_app ctrl_tcp.so",
            "module_app menu.so",
            f"ctrl_tcp_listen {self.host}:{self.control_port}",
            f"audio_source aufile,{self.speech}",
            "audio_player aubridge,nowhere",
            "audio_alert aubridge,alert",
            "ring_aufile none",
            "ringback_disabled yes",
            "call_local_timeout 120",
            f"snd_path {self.folder}",
            f"rtp_ports {self.rtp_ports}",
            "rtp_stats yes",
            "audio_jitter_buffer_delay 2-10",
            f"ausrc_srate {self.rate_hz}",
            f"auplay_srate {self.rate_hz}",
            "ausrc_channels 1",
            "auplay_channels 1",
            "opus_bitrate 64000",
            "opus_stereo no",
            "opus_sprop_stereo no",
            "opus_complexity 10",
            "opus_application voip",
        ]
        if self.film is not None:
            lines += [
                f"video_source avformat,{self.film}",
                "video_display fakevideo,nil",
                "video_size 320x240",
                "video_bitrate 600000",
                "video_fps 15",
                "avcodec_h264enc libx264",
                "avcodec_h264dec h264",
            ]
        (self.folder / "config").write_text("\n".join(lines) + "\n")
        registrar = f"<sip:{self.user}@{self.server};transport={self.transport}>"
        options = [
            f"auth_pass={self.password}" if self.password else "regint=0",
            f"answermode={self.answer}",
            f"audio_codecs={','.join(self.codecs)}",
            "ptime=20",
        ]
        if self.film is not None:
            options.append(f"video_codecs={self.video_codec}")
        if self.srtp:
            options.append(f"mediaenc={self.srtp}")
        (self.folder / "accounts").write_text(registrar + ";" + ";".join(options) + "\n")

    async def start(self) -> None:
        self._write_configuration()
        log = (self.folder / "log.txt").open("wb")
        self._process = await asyncio.create_subprocess_exec(
            "stdbuf",
            "-oL",
            "baresip",
            "-4",
            "-f",
            str(self.folder),
            stdout=log,
            stderr=log,
            stdin=asyncio.subprocess.DEVNULL,
        )
        log.close()
        for _ in range(100):
            try:
                reader, self._writer = await asyncio.open_connection(self.host, self.control_port)
                break
            except OSError:
                await asyncio.sleep(0.1)
        else:
            raise RuntimeError(f"baresip did not open its control port: {self.log()[-2000:]}")
        self._reader = asyncio.create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while True:  # netstrings of JSON: `<length>:<text>,`
            head = await reader.readuntil(b":")
            body = await reader.readexactly(int(head[:-1]) + 1)
            self.events.append(json.loads(body[:-1]))
            self._arrived.set()

    async def command(self, command: str, params: str = "") -> None:
        assert self._writer is not None
        text = json.dumps({"command": command, "params": params, "token": command}).encode()
        self._writer.write(b"%d:%s," % (len(text), text))
        await self._writer.drain()

    async def wait_for(self, kind: str, timeout_s: float = 10.0, since: int = 0) -> dict[str, object]:
        """The first event of type `kind` (REGISTER_OK, CALL_ESTABLISHED, CALL_CLOSED …) at or after index `since`."""
        async with asyncio.timeout(timeout_s):
            while True:
                for event in self.events[since:]:
                    if event.get("type") == kind:
                        return event
                self._arrived.clear()
                await self._arrived.wait()

    async def registered(self, timeout_s: float = 10.0) -> None:
        """Read from its log: the answer may come before its control port is open."""
        async with asyncio.timeout(timeout_s):
            while "200 OK" not in self.log():
                await asyncio.sleep(0.05)

    async def dial(self, uri: str) -> None:
        await self.command("dial", uri)

    async def hang_up(self) -> None:
        await self.command("hangup")

    def log(self) -> str:
        path = self.folder / "log.txt"
        return path.read_text(errors="replace") if path.exists() else ""

    async def sees(self, path: Path, timeout_s: float = 5.0) -> Path:
        """A PNG of the picture that has just arrived."""
        await self.command("snapshot_recv", str(path))
        async with asyncio.timeout(timeout_s):
            while f"wrote {path}" not in self.log():
                await asyncio.sleep(0.05)
        return path

    def heard(self) -> Path:
        """The newest file of what this phone heard."""
        return max(self.folder.glob("dump-*-dec.wav"), key=lambda p: p.stat().st_mtime_ns)

    def said(self) -> Path:
        return max(self.folder.glob("dump-*-enc.wav"), key=lambda p: p.stat().st_mtime_ns)

    async def stop(self) -> None:
        """Unregisters by quitting properly, then ends the process whatever it does."""
        if self._process is None:
            return
        if self._process.returncode is None:
            try:
                await self.command("quit")
                await asyncio.wait_for(self._process.wait(), 5)
            except (TimeoutError, OSError):
                self._process.kill()
                await self._process.wait()
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        if self._writer is not None:
            self._writer.close()
        self._process = None
