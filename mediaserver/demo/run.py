"""The demo from beginning to end: people who register, two dozen calls, and what the catalogue then knows of them.

Owns whom the phones sign in as. The command (`cli_demo`) owns passwords, users and what is printed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from mediaserver.demo.phone import Switchboard
from mediaserver.demo.place import AGENT_RTP, CARRIER, CARRIER_HOST, CUSTOMER_RTP
from mediaserver.demo.plan import AGENTS, CALLS, Planned
from mediaserver.demo.scene import Outcome, Scene
from mediaserver.demo.speech import Speech
from mediaserver.store.database import Database
from mediaserver.store.review import ReviewStore
from mediaserver.store.review_search import CallSearch, FoundCall, Search

FOUND_S_MAX = 30.0
LOOK_S = 0.5


def customer_accounts(plan: Sequence[Planned] = CALLS) -> dict[str, str]:
    """Number and user name of each customer, for a server that does not know the demo's trunk."""
    numbers = dict.fromkeys(planned.caller for planned in plan)
    return {number: f"demo-caller-{index:02}" for index, number in enumerate(numbers, 1)}


async def place_calls(
    server: str,
    host: str,
    passwords: Mapping[str, str],
    speech: Speech,
    on_done: Callable[[Outcome], None],
    plan: Sequence[Planned] = CALLS,
) -> list[Outcome]:
    """All calls of the plan. server: "HOST:PORT" of SIP over UDP. host: our address that it reaches.

    passwords: of every agent; and of the customers' users, or none of them if they come in by the demo's trunk.
    Raises CallFailed when the agents cannot register, MediaError, OSError.
    """
    users = customer_accounts(plan)
    as_users = all(user in passwords for user in users.values())
    agents = Switchboard(host, server, {name: passwords[name] for name in AGENTS}, AGENT_RTP, registers=True)
    accounts = {user: passwords[user] for user in users.values()} if as_users else {CARRIER: ""}
    customers = Switchboard(host if as_users else CARRIER_HOST, server, accounts, CUSTOMER_RTP, registers=False)

    def account_of(planned: Planned) -> tuple[str, str]:
        return (users[planned.caller],) * 2 if as_users else (CARRIER, planned.caller)

    started: list[Switchboard] = []
    try:
        for board in (agents, customers):
            started.append(board)
            await board.start()
        return await Scene(customers, agents, account_of, speech).play(plan, on_done)
    finally:
        for board in reversed(started):
            await board.stop()


async def found_calls(database: Database, since_ms: int) -> list[FoundCall]:
    """What the review page finds of the demo since then, once the server has taken in all of it."""
    store, search = ReviewStore(database), CallSearch(database)
    async with asyncio.timeout(FOUND_S_MAX):
        while await store.pending(since_ms, 1) or await store.unheard(1):  # noqa: ASYNC110  (another process)
            await asyncio.sleep(LOOK_S)
    found = await search.find(Search(from_ms=since_ms), queues=None, limit=200)
    return [call for call in found if call.queue.startswith("demo-")]
