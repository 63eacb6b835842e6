"""Whom a dial rings: users, a number on a trunk, a URI; and whose number the called party sees. Rings nobody itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from mediaserver.calls.leg import Leg
from mediaserver.calls.parties import Party
from mediaserver.calls.ports import Session, SipGateway
from mediaserver.calls.routing import Route, Rule
from mediaserver.model import Masked


@dataclass(frozen=True, slots=True)
class Branch:
    """One device or trunk to ring."""

    target: str = field(repr=False)
    party: Party
    called_user: str = field(repr=False)
    trunk: str | None = None


def user_branches(gateway: SipGateway, users: Sequence[str]) -> tuple[list[Branch], int]:
    """All devices of these users, and the status if there are none: 404 unknown, 480 not registered."""
    found: list[Branch] = []
    status = 404
    for user in users:
        contacts = gateway.contacts(user)
        if contacts is not None:
            status = 480
        party = Party(Masked(user), user)
        found += [Branch(contact, party, user) for contact in contacts or ()]
    return found, status


def trunk_branch(number: str, trunk: str) -> Branch:
    return Branch(number, Party(Masked(number), f"trunk:{trunk}"), number, trunk)


def uri_branch(uri: str) -> Branch:
    user = uri.partition(":")[2].partition("@")[0]
    return Branch(uri, Party(Masked(user)), user)


def route_branches(gateway: SipGateway, route: Route) -> tuple[list[Branch], int]:
    """What the `dial` program rings for a rule, and the status if there is nobody."""
    if route.rule.trunk is not None:
        status = route.outbound_status  # a program may hand a call over to any number
        return ([trunk_branch(route.outbound_number, route.rule.trunk)], 503) if status is None else ([], status)
    return user_branches(gateway, route.users)


def shown_caller(session: Session, rule: Rule, leg: Leg | None = None) -> tuple[str, str]:
    """Number and name the called party sees: the rule's, else those of `leg`, else of whoever started the call."""
    if rule.caller_id is not None:
        return rule.caller_id, ""
    if leg is not None and leg.role != "caller":
        return str(leg.party.number), ""
    return session.caller_user, session.caller_name
