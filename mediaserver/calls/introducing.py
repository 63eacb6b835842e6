"""After a transfer: each party is told whom it talks to now, on its page and where its phone can show it (RFC 4916).

Only our own users are told. A trunk was shown what its rule lets it be shown when it was called, and hears no more.
"""

from __future__ import annotations

from mediaserver.calls.house import House
from mediaserver.calls.leg import Leg
from mediaserver.model import Masked
from mediaserver.model_news import PartyNews


def introduce(house: House, leg: Leg, other: Leg) -> None:
    """From now on `leg` talks to `other`."""
    identity, session = leg.party.identity, leg.session
    if identity is None or identity.startswith("trunk:") or session is None or not leg.answered:
        return
    number, name = other.party.number, _name_of(house, other)
    session.identify(str(number), name)
    facts, call_id = leg.facts(), leg.owner.call_id
    house.news(lambda reader: reader.leg_news(call_id, facts, PartyNews(number, Masked(name))))


def _name_of(house: House, leg: Leg) -> str:
    """What we know of a user; of others what they call themselves."""
    identity = leg.party.identity
    if identity is not None and not identity.startswith("trunk:"):
        return house.gateway.display_name(identity)
    return leg.session.caller_name if leg.session is not None and leg.session.incoming else ""
