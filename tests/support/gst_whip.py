"""A WHIP client that is GStreamer's webrtcbin. Runs in Debian's own Python (it has gi), prints one word per step.

    gst_whip.py ENDPOINT TOKEN TONE_HZ

It publishes a tone, prints `published STATUS`, `connected`, and when its standard input ends deletes the session and
prints `deleted STATUS`.
"""

import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstWebRTC", "1.0")
gi.require_version("GstSdp", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

ENDPOINT, TOKEN, TONE_HZ = sys.argv[1:4]
UNVERIFIED = ssl._create_unverified_context()


def say(text):
    print(text, flush=True)


def ask(method, url, body=None, **headers):
    request = urllib.request.Request(url, body, headers, method=method)
    request.add_header("Authorization", f"Bearer {TOKEN}")
    try:
        return urllib.request.urlopen(request, timeout=30, context=UNVERIFIED)
    except urllib.error.HTTPError as error:
        return error


class Publisher:
    def __init__(self):
        self.location = ""
        self.loop = GLib.MainLoop()
        self.pipeline = Gst.parse_launch(
            f"audiotestsrc is-live=true freq={TONE_HZ} ! audioconvert ! audioresample ! opusenc ! rtpopuspay pt=111 ! "
            "application/x-rtp,media=audio,encoding-name=OPUS,payload=111 ! "
            "webrtcbin name=peer bundle-policy=max-bundle"
        )
        self.peer = self.pipeline.get_by_name("peer")
        self.peer.connect("on-negotiation-needed", self.negotiate)
        self.peer.connect("notify::ice-gathering-state", self.gathered)
        self.peer.connect("notify::connection-state", self.changed)

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, self.told_to_end)
        self.loop.run()
        self.pipeline.set_state(Gst.State.NULL)

    def negotiate(self, peer):
        sendonly = GstWebRTC.WebRTCRTPTransceiverDirection.SENDONLY
        peer.emit("get-transceiver", 0).set_property("direction", sendonly)
        peer.emit("create-offer", None, Gst.Promise.new_with_change_func(self.offered, peer))

    def offered(self, promise, peer):
        reply = promise.get_reply()  # the offer lives as long as this
        peer.emit("set-local-description", reply.get_value("offer"), Gst.Promise.new())

    def gathered(self, peer, _property):
        if peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            GLib.idle_add(self.publish)

    def publish(self):
        if self.location:
            return
        sdp = self.peer.get_property("local-description").sdp.as_text().encode()
        answer = ask("POST", ENDPOINT, sdp, **{"Content-Type": "application/sdp"})
        say(f"published {answer.status}")
        if answer.status != 201:
            say(answer.read().decode())
            self.loop.quit()
            return
        self.location = urllib.parse.urljoin(ENDPOINT, answer.headers["Location"])
        _, message = GstSdp.SDPMessage.new_from_text(answer.read().decode())
        description = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, message)
        self.peer.emit("set-remote-description", description, Gst.Promise.new())

    def changed(self, peer, _property):
        if peer.get_property("connection-state") == GstWebRTC.WebRTCPeerConnectionState.CONNECTED:
            say("connected")

    def told_to_end(self, *_args):
        say(f"deleted {ask('DELETE', self.location).status}")
        self.loop.quit()
        return False


Gst.init(None)
Publisher().run()
