"""Several journals of one party as one: what it said for other purposes has a journal, and a key, of its own.

Owns which journals belong together. Reads none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mediaserver.recording.timeline import Leg
from mediaserver.recording.warp import Samples


def parties(legs: Sequence[Leg]) -> list[list[Leg]]:
    """Journals of one party, one after the other in time, in one list; in the order in which parties came."""
    found: list[list[Leg]] = []
    for leg in legs:
        own = next((one for one in found if _same(one[-1], leg)), None)
        if own is None:
            found.append([leg])
        else:
            own.append(leg)
    return found


def _same(before: Leg, after: Leg) -> bool:
    names = [(leg.header.get("leg"), leg.header.get("party"), leg.header.get("role")) for leg in (before, after)]
    return bool(names[0][0]) and names[0] == names[1] and before.closed_ns <= after.opened_ns


def as_one(legs: Sequence[Leg]) -> Leg:
    """What lanes tell of them; the packets stay in their journals."""
    if len(legs) == 1:
        return legs[0]
    return replace(
        legs[0],
        closed_ns=max(leg.closed_ns for leg in legs),
        packets=sum(leg.packets for leg in legs),
        windows=[window for leg in legs for window in leg.windows],
        keys_ns=[at for leg in legs for at in leg.keys_ns],
        prompts=[prompt for leg in legs for prompt in leg.prompts],
        events=[event for leg in legs for event in leg.events],
        damaged=[stretch for leg in legs for stretch in leg.damaged],
    )


def together(blocks: Sequence[Samples]) -> Samples:
    """One after the other in time, so that where one has something the others have silence."""
    block = blocks[0]
    for other in blocks[1:]:
        block = block + other
    return block
