// Listening to a running call: a WebRTC leg that only receives. Offer and answer go by one request, as in WHEP; that it is
// over is told by the list of running calls, which says what one listens to.
import { ask } from "./api.js";

export class Ear {
  constructor(changed) {
    this.changed = changed;
    this.call = null; // id of the call that is heard
    this.state = "off"; // off, connecting, hearing
    this.session = null;
    this.peer = null;
    this.audio = new Audio();
    addEventListener("pagehide", () => this.end());
  }

  // Raises Refused when the call may not be heard.
  async begin(call) {
    this.end();
    const peer = new RTCPeerConnection();
    Object.assign(this, { call, peer, state: "connecting" });
    peer.addTransceiver("audio", { direction: "recvonly" });
    peer.ontrack = ({ track }) => {
      this.audio.srcObject = new MediaStream([track]);
      this.audio.play().catch(() => {});
    };
    peer.onconnectionstatechange = () => {
      if (peer !== this.peer) return;
      if (peer.connectionState === "connected") this.state = "hearing";
      else if (peer.connectionState === "failed" || peer.connectionState === "closed") this.end();
      this.changed();
    };
    this.changed();
    try {
      await peer.setLocalDescription(await peer.createOffer());
      const said = await ask("POST", `live/${encodeURIComponent(call)}/listen`, { body: { sdp: peer.localDescription.sdp } });
      if (peer !== this.peer) return leave(said.id); // stopped meanwhile
      this.session = said.id;
      await peer.setRemoteDescription({ type: "answer", sdp: said.sdp });
    } catch (error) {
      if (peer === this.peer) this.end();
      throw error;
    }
  }

  end() {
    if (this.session) leave(this.session);
    this.peer?.close();
    this.audio.srcObject = null;
    Object.assign(this, { call: null, peer: null, session: null, state: "off" });
    this.changed();
  }

  // listening: what the server says this person listens to, by session.
  agree(listening) {
    if (this.session && !(this.session in listening)) {
      this.session = null;
      this.end();
      return false;
    }
    return true;
  }
}

const leave = (session) => ask("DELETE", `live/listening/${encodeURIComponent(session)}`, { keepalive: true }).catch(() => {});
