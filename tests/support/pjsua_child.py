"""A PJSIP phone in a process of its own: one JSON command a line on stdin, one JSON event a line on stdout.

pjsua2 aborts at teardown and its media threads dead-lock with Python callbacks, so it has no thread of its own here:
this loop pumps it, and the process leaves by os._exit. Run as `python pjsua_child.py '{"sip_port": …}'`.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

import pjsua2 as pj

CODECS = (
    "PCMU/8000/1",
    "PCMA/8000/1",
    "G722/16000/1",
    "L16/16000/1",
    "L16/8000/1",
    "GSM/8000/1",
    "iLBC/8000/1",
    "speex/8000/1",
    "speex/16000/1",
    "speex/32000/1",
)


def report(kind: str, **facts: Any) -> None:
    sys.stdout.write(json.dumps({"type": kind, **facts}) + "\n")
    sys.stdout.flush()


class Call(pj.Call):
    def __init__(self, phone: Phone, call_id: int = pj.PJSUA_INVALID_ID) -> None:
        super().__init__(phone.account, call_id)
        self.phone = phone
        self.player: pj.AudioMediaPlayer | None = None
        self.recorder: pj.AudioMediaRecorder | None = None

    def onCallState(self, prm: pj.OnCallStateParam) -> None:
        info = self.getInfo()
        report("state", text=info.stateText, status=info.lastStatusCode, reason=info.lastReason, remote=info.remoteUri)
        if info.state == pj.PJSIP_INV_STATE_DISCONNECTED:
            self.player = self.recorder = None  # files are complete when these die
            report("closed", status=info.lastStatusCode)

    def onCallMediaState(self, prm: pj.OnCallMediaStateParam) -> None:
        info = self.getInfo()
        for index, media in enumerate(info.media):
            if media.type != pj.PJMEDIA_TYPE_AUDIO:
                continue
            report("media", status=media.status, direction=media.dir)
            if media.status not in (pj.PJSUA_CALL_MEDIA_ACTIVE, pj.PJSUA_CALL_MEDIA_REMOTE_HOLD):
                continue
            audio = self.getAudioMedia(index)
            if self.player is None:
                self.player = pj.AudioMediaPlayer()
                self.player.createPlayer(self.phone.options["speech"], 0 if self.phone.options.get("loop") else 1)
                self.recorder = pj.AudioMediaRecorder()
                self.recorder.createRecorder(self.phone.options["heard"])
            self.player.startTransmit(audio)
            audio.startTransmit(self.recorder)

    def onDtmfDigit(self, prm: pj.OnDtmfDigitParam) -> None:
        report("digit", digit=prm.digit)

    def onCallTransferStatus(self, prm: pj.OnCallTransferStatusParam) -> None:
        report("transfer", status=prm.statusCode, final=prm.finalNotify)


class Account(pj.Account):
    phone: Phone

    def onRegState(self, prm: pj.OnRegStateParam) -> None:
        report(
            "registered" if prm.code == 200 and prm.expiration else "registration",
            status=prm.code,
            expires=prm.expiration,
        )

    def onIncomingCall(self, prm: pj.OnIncomingCallParam) -> None:
        call = Call(self.phone, prm.callId)
        self.phone.calls.append(call)
        report("incoming", remote=call.getInfo().remoteUri)
        status = self.phone.options.get("answer", 200)
        if status:
            answer = pj.CallOpParam(True)
            answer.statusCode = status
            call.answer(answer)


class Phone:
    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.calls: list[Call] = []
        self.endpoint = pj.Endpoint()
        self.endpoint.libCreate()
        config = pj.EpConfig()
        config.uaConfig.threadCnt = 0
        config.uaConfig.mainThreadOnly = True
        config.medConfig.hasIoqueue = False
        config.medConfig.threadCnt = 0
        config.medConfig.noVad = True
        config.medConfig.ecTailLen = 0
        config.medConfig.clockRate = config.medConfig.sndClockRate = options.get("rate_hz", 16000)
        config.medConfig.quality = 10
        config.logConfig.level = options.get("log", 3)
        config.logConfig.consoleLevel = 0
        config.logConfig.filename = options["log_file"]
        self.endpoint.libInit(config)
        transport = pj.TransportConfig()
        transport.port = options["sip_port"]
        transport.boundAddress = options.get("host", "127.0.0.1")
        transport.publicAddress = options.get("host", "127.0.0.1")
        kind = {"udp": pj.PJSIP_TRANSPORT_UDP, "tcp": pj.PJSIP_TRANSPORT_TCP, "tls": pj.PJSIP_TRANSPORT_TLS}
        self.endpoint.transportCreate(kind[options.get("transport", "udp")], transport)
        self.endpoint.libStart()
        self.endpoint.audDevManager().setNullDev()
        wanted = options["codecs"]
        for codec in self.endpoint.codecEnum2():
            priority = 200 - wanted.index(codec.codecId) if codec.codecId in wanted else 0
            self.endpoint.codecSetPriority(codec.codecId, priority)
        self.account = Account()
        self.account.phone = self
        account = pj.AccountConfig()
        via = f";transport={options['transport']}" if options.get("transport", "udp") != "udp" else ""
        account.idUri = f"sip:{options['user']}@{options['server'].rsplit(':', 1)[0]}"
        if options.get("register", True):
            account.regConfig.registrarUri = f"sip:{options['server']}{via}"
            account.regConfig.timeoutSec = 300
        if via:
            account.sipConfig.proxies.append(f"sip:{options['server']}{via};lr")
        if options.get("password"):
            account.sipConfig.authCreds.append(pj.AuthCredInfo("digest", "*", options["user"], 0, options["password"]))
        account.mediaConfig.srtpUse = {
            "": pj.PJMEDIA_SRTP_DISABLED,
            "optional": pj.PJMEDIA_SRTP_OPTIONAL,
            "mandatory": pj.PJMEDIA_SRTP_MANDATORY,
        }[options.get("srtp", "")]
        account.mediaConfig.srtpSecureSignaling = 0
        account.mediaConfig.transportConfig.port = options["rtp_port"]
        account.mediaConfig.transportConfig.boundAddress = options.get("host", "127.0.0.1")
        account.natConfig.iceEnabled = False
        account.callConfig.timerUse = pj.PJSUA_SIP_TIMER_INACTIVE
        self.account.create(account)

    def do(self, command: dict[str, Any]) -> bool:
        """Runs one command; False: leave."""
        name = command["do"]
        if name == "quit":
            self.endpoint.hangupAllCalls()
            if self.options.get("register", True):
                self.account.setRegistration(False)
            for _ in range(30):
                self.endpoint.libHandleEvents(20)
            return False
        if name == "dial":
            call = Call(self)
            self.calls.append(call)
            call.makeCall(command["uri"], pj.CallOpParam(True))
            return True
        call = self.calls[command.get("call", -1)]
        if name == "hangup":
            call.hangup(pj.CallOpParam(True))
        elif name == "hold":
            call.setHold(pj.CallOpParam(True))
        elif name == "resume":
            again = pj.CallOpParam(True)
            again.opt.flag = pj.PJSUA_CALL_UNHOLD
            call.reinvite(again)
        elif name == "transfer":
            call.xfer(command["uri"], pj.CallOpParam(True))
        elif name == "connect":  # attended transfer: the far end of this call to that of another one
            call.xferReplaces(self.calls[command["with"]], pj.CallOpParam(True))
        elif name == "digits":
            call.dialDtmf(command["digits"])
        elif name == "info_digit":
            send = pj.CallSendDtmfParam()
            send.digits = command["digits"]
            send.method = pj.PJSUA_DTMF_METHOD_SIP_INFO
            send.duration = 160
            call.sendDtmf(send)
        elif name == "stats":
            statistics = call.getStreamStat(0).rtcp
            report(
                "stats",
                received=statistics.rxStat.pkt,
                lost=statistics.rxStat.loss,
                sent=statistics.txStat.pkt,
                discarded=statistics.rxStat.discard,
                rtt_us=statistics.rttUsec.last,
            )
        else:
            raise ValueError(name)
        return True


def main() -> None:
    phone = Phone(json.loads(sys.argv[1]))
    report("ready")
    pending = b""
    while True:
        phone.endpoint.libHandleEvents(10)
        if not select.select([0], [], [], 0)[0]:
            continue
        chunk = os.read(0, 65536)
        pending += chunk or b'{"do": "quit"}\n'
        *lines, pending = pending.split(b"\n")
        for line in lines:
            try:
                if not phone.do(json.loads(line)):
                    report("gone")
                    os._exit(0)
            except pj.Error as error:
                report("error", text=error.info())


if __name__ == "__main__":
    main()
