"""Blind transfer, RFC 3515 and 5589 §6: a party of a conversation sends the other one elsewhere.

Owns one REFER from its 202 to the last NOTIFY. The transferee keeps its leg; the target is found by the routing rules
with the transferor's rights. `attended` is transfer to a party the transferor talks to already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from mediaserver.calls.bridge import Conversation, play_to
from mediaserver.calls.dialing import Dialer, DialResult
from mediaserver.calls.domains import is_our_host
from mediaserver.calls.introducing import introduce
from mediaserver.calls.leg import Leg
from mediaserver.calls.routing import Route, route_or_status
from mediaserver.calls.targets import route_branches, shown_caller
from mediaserver.errors import MediaServerError, ParseError
from mediaserver.model import Masked
from mediaserver.sip.address import parse_name_addr
from mediaserver.sip.session import ReferReceived
from mediaserver.sip.uri import Uri, parse_uri

if TYPE_CHECKING:
    from mediaserver.calls.call import Call

log = structlog.get_logger()


class Transfer:
    def __init__(self, call: Call, transferor: Leg, event: ReferReceived) -> None:
        self._call = call
        self._transferor = transferor
        self._event = event

    async def run(self) -> None:
        """Carries the transfer out and tells the transferor how it went. Raises nothing a peer could cause."""
        conversation = self._transferor.conversation
        others = conversation.others(self._transferor) if isinstance(conversation, Conversation) else []
        if not isinstance(conversation, Conversation) or len(others) != 1:
            self._notify(603, "Nobody To Transfer")
            return
        found = self._find()
        if isinstance(found, int):
            self._notify(found)
            return
        log.info("blind transfer", by=self._transferor.leg_id, to=Masked(found.number), route=found.rule.name)
        try:
            if found.program == "dial":
                await self._to_party(found, conversation, others[0])
            else:
                await self._to_program(found, conversation, others[0])
        except MediaServerError as error:
            log.warning("transfer failed", error=str(error))
            self._notify(500)

    def _find(self) -> Route | int:
        """The route for the Refer-To, or the status that says why there is none."""
        try:
            uri = parse_name_addr(self._event.refer_to).uri
        except ParseError as error:
            return error.status
        if not uri.is_sip or not uri.username or not self._is_ours(uri):
            return 404
        return route_or_status(self._call.routing.table, uri.username, self._transferor.party.identity)

    def _is_ours(self, uri: Uri) -> bool:
        """Phones write the domain they are registered in, or the address they reach us by."""
        hosts: set[str] = set()
        for leg in self._call.legs:
            if leg.session is not None:
                hosts.add(leg.session.local_host)
                if leg.session.incoming:
                    hosts.add(_host(leg.session.request_uri))
        return is_our_host(uri.host, self._call.house.settings, hosts)

    async def _to_program(self, route: Route, conversation: Conversation, transferee: Leg) -> None:
        self._notify(200)
        with conversation.expecting():  # else the program would end, and the call with it, before the hand-over
            await conversation.remove(transferee)
            self._call.hand_over(route, transferee)
        await self._call.legs.drop(self._transferor)

    async def _to_party(self, route: Route, conversation: Conversation, transferee: Leg) -> None:
        call = self._call
        branches, status = route_branches(call.house.gateway, route)
        if not branches:
            self._notify(status)
            return
        if call.primary is self._transferor:  # whoever stays is whose call it is from now on
            call.primary = transferee

        async def progress(_leg: Leg) -> None:
            self._notify(180)
            if self._transferor.is_over:  # otherwise the transferee still hears hold music or the transferor
                await play_to(transferee, call.house.tone("ringback"))

        with conversation.expecting():
            result = await Dialer(
                call,
                branches,
                float(route.rule.ring_timeout_s or call.house.settings.sip.ring_timeout_s),
                near=transferee,
                prefer=transferee.best,
                caller=shown_caller(call.session, route.rule, transferee),
                progress=progress,
            ).run()
            await self._connect(result, conversation, transferee)

    async def _connect(self, result: DialResult, conversation: Conversation, transferee: Leg) -> None:
        call = self._call
        target = result.leg
        if target is None:
            self._notify(result.status, result.reason)
            return
        if transferee.is_over or not await call.recording.admit(target):
            self._notify(480)
            await call.legs.drop(target)
            return
        await conversation.remove(self._transferor)
        await transferee.voice.stop_play()
        await conversation.add(target)
        self._notify(200)
        introduce(call.house, transferee, target)  # who was rung has been shown who calls
        await call.legs.drop(self._transferor)

    def _notify(self, status: int, reason: str = "") -> None:
        if self._transferor.session is not None and not self._transferor.is_over:
            self._transferor.session.notify_refer(status, reason)


def _host(uri: str) -> str:
    try:
        return parse_uri(uri).host
    except ParseError:
        return ""
