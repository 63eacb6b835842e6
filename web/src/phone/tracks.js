// The pictures of one call: our camera and screen on their way out, and whatever arrives, as tiles.
//
// The server names what arrives by its stream: the id of the participant, and "camera" or "screen" as the track's id. What
// we send as a screen is marked in our offer (a=content:slides, RFC 4796); the other video line is the camera.
import { Problem, openCamera, openScreen, stop } from "./media.js";

const SCREEN_BITS = 2_500_000;
const SCREEN = /^(screen|slides)/; // how the server names the other side's screen

export class Tracks {
  constructor(call) {
    this.call = call;
    this.camera = null; // MediaStream while it runs
    this.screen = null;
    this.screenLine = null; // RTCRtpTransceiver
    this.tiles = new Map(); // key: { key, participant, kind, stream, track }
  }

  // For a call that begins with a picture: the camera's track goes along with the microphone's.
  async openCameraFor(stream) {
    try {
      this.camera = await openCamera();
      stream.addTrack(this.camera.getVideoTracks()[0]);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.call.problem = error.word; // the call goes on without a picture
    }
  }

  cameraLine() {
    const usable = (line) => line.receiver.track.kind === "video" && !line.stopped && line.currentDirection !== "stopped" && !SCREEN.test(line.receiver.track.id);
    const lines = this.call.peer.getTransceivers().filter(usable);
    return lines.find((line) => line !== this.screenLine && line.sender.track) ?? lines.find((line) => line !== this.screenLine) ?? null;
  }

  async setCamera(on) {
    if (on === Boolean(this.camera) || this.call.state !== "talking") return;
    if (on) {
      const stream = await this.open(openCamera);
      if (!stream) return;
      this.camera = stream;
      const line = await this.send(this.cameraLine(), stream, "camera");
      await this.offer(line, () => this.setCamera(false));
    } else {
      stop(this.camera);
      this.camera = null;
      await this.silence(this.cameraLine());
    }
  }

  screenOfOther() {
    return this.call.peer.getTransceivers().find((line) => !line.stopped && SCREEN.test(line.receiver.track.id) && !this.call.room) ?? null;
  }

  // Offers what was changed. A line that may not send after the answer was refused: withdraw() takes it back, with words.
  async offer(line, withdraw = null, word = "video_refused") {
    this.call.changed();
    const answered = await this.call.renegotiate();
    if (!withdraw || !this.call.live || !answered) return;
    if (!/send/.test(line.currentDirection ?? "")) {
      await withdraw();
      this.call.problem = word;
      this.call.changed();
    }
  }

  async setScreen(on) {
    if (on === Boolean(this.screen) || this.call.state !== "talking") return;
    if (on) {
      const stream = await this.open(openScreen);
      if (!stream) return;
      this.screen = stream;
      const [track] = stream.getVideoTracks();
      track.contentHint = "detail"; // letters sharp before motion smooth
      track.addEventListener("ended", () => this.setScreen(false)); // stopped by the browser's own button
      this.screenLine ??= this.screenOfOther(); // both may show theirs by the same line
      const line = await this.send(this.screenLine, stream, "screen");
      await this.offer(line, () => this.setScreen(false), "screen_refused");
    } else {
      stop(this.screen);
      this.screen = null;
      await this.silence(this.screenLine);
    }
  }

  async open(how) {
    try {
      this.call.problem = null;
      const stream = await how();
      if (this.call.live) return stream;
      stop(stream); // it ended while the browser asked
      return null;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.call.problem = error.word;
      this.call.changed();
      return null;
    }
  }

  async send(line, stream, kind) {
    const [track] = stream.getVideoTracks();
    if (line && !line.stopped) {
      await line.sender.replaceTrack(track);
      line.sender.setStreams?.(stream);
      line.direction = "sendrecv";
      return line;
    }
    const made = this.call.peer.addTransceiver(track, {
      direction: "sendrecv",
      streams: [stream],
      sendEncodings: kind === "screen" ? [{ maxBitrate: SCREEN_BITS }] : undefined,
    });
    if (kind === "screen") this.screenLine = made;
    return made;
  }

  async silence(line) {
    this.call.changed();
    if (!line || line.stopped || line.currentDirection === "stopped") return;
    await line.sender.replaceTrack(null);
    line.direction = line === this.screenLine && !/recv/.test(line.currentDirection ?? "") ? "inactive" : "recvonly";
    await this.offer(line);
  }

  // Writes into our own offer or answer which line is the screen.
  mark(sdp) {
    if (!this.screenLine || !this.screen) return sdp;
    const at = this.call.peer.getTransceivers().indexOf(this.screenLine);
    const [head, ...sections] = sdp.split(/(?=^m=)/m);
    const mid = this.screenLine.mid;
    const place = mid === null ? at : sections.findIndex((section) => section.includes(`a=mid:${mid}\r\n`));
    if (sections[place]?.startsWith("m=video") && !sections[place].includes("a=content:")) {
      sections[place] = sections[place].replace(/\r\na=mid:[^\r]*/, "$&\r\na=content:slides");
    }
    return [head, ...sections].join("");
  }

  // -- what arrives

  arrived({ track, streams, transceiver }) {
    const participant = streams[0]?.id ?? `line-${transceiver.mid}`;
    const kind = SCREEN.test(track.id) || transceiver === this.screenLine ? "screen" : "camera";
    const key = `${participant}/${track.id}/${transceiver.mid}`;
    const tile = { key, participant, kind, track, stream: new MediaStream([track]) };
    const put = () => {
      this.tiles.set(key, tile);
      this.call.changed();
    };
    const take = () => {
      if (this.tiles.get(key) === tile) this.tiles.delete(key);
      this.call.changed();
    };
    track.addEventListener("unmute", put); // frames arrive
    track.addEventListener("mute", take); // the line was closed, or nothing comes any more
    track.addEventListener("ended", take);
    if (!track.muted) put();
  }

  // Another connection carries the call: its lines are the former one's by their mid, its pictures come anew.
  moved(peer) {
    this.screenLine = peer.getTransceivers().find((line) => this.screenLine && line.mid === this.screenLine.mid) ?? null;
    this.tiles.clear();
  }

  release() {
    stop(this.camera);
    stop(this.screen);
    this.camera = this.screen = null;
    this.tiles.clear();
  }
}
