"""Where registered users can be reached: the table behind the registrar, RFC 3261 §10.3 steps 6–8, RFC 5626 §6.

Owns bindings, their deadlines and bounds. Knows no messages: `registrar` reads REGISTER and writes here.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from mediaserver.limits import SIP_BINDINGS_MAX, SIP_CONTACTS_PER_USER_MAX

_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Binding:
    """One contact of one user. Requests for it go to `uri` over `flow`, the way its REGISTER came: that is what
    reaches a phone behind NAT and a browser whose contact host ends in .invalid."""

    user: str
    uri: str = field(repr=False)  # contact as registered
    flow: Hashable = field(repr=False)  # the transport's; None: gone, use the URI
    expires_ns: int
    call_id: str
    cseq: int
    q: float = 1.0  # 0..1, preference among the contacts of one user
    instance: str = ""  # +sip.instance: the device, whatever its contact
    reg_id: str = ""
    params: tuple[tuple[str, str | None], ...] = ()  # of the Contact, without q and expires: echoed in responses
    path: tuple[str, ...] = field(repr=False, default=())  # RFC 3327: Route of requests to this contact
    source: tuple[str, int] | None = field(repr=False, default=None)
    user_agent: str = ""
    direct: bool = False  # its contact names the address it registered from: no NAT between, a new connection may do
    key: str = field(repr=False, default="")  # what makes two contacts the same

    def seconds_left(self, now_ns: int) -> int:
        """Rounded up, as the expires parameter of a response says it."""
        return max(0, -((now_ns - self.expires_ns) // _NS))


class BindingTable:
    """user -> bindings. `on_change(user, bindings)` is called after each change of a user's set, also on expiry."""

    def __init__(
        self,
        *,
        per_user_max: int = SIP_CONTACTS_PER_USER_MAX,
        total_max: int = SIP_BINDINGS_MAX,
        on_change: Callable[[str, tuple[Binding, ...]], None] | None = None,
    ) -> None:
        self._users: dict[str, dict[str, Binding]] = {}
        self._heap: list[tuple[int, str, str]] = []  # (expires_ns, user, key); rows may be outdated
        self._flows: dict[Hashable, set[tuple[str, str]]] = {}
        self._per_user_max = per_user_max
        self._total_max = total_max
        self._on_change = on_change
        self._total = 0
        self.pushed_out = 0  # bindings that made room for a newer one of the same user

    def __len__(self) -> int:
        return self._total

    def __iter__(self) -> Iterator[Binding]:
        return (binding for bindings in self._users.values() for binding in bindings.values())

    def of(self, user: str, now_ns: int) -> list[Binding]:
        """Live bindings, the most preferred first, then the latest refreshed."""
        live = [b for b in self._users.get(user, {}).values() if b.expires_ns > now_ns]
        return sorted(live, key=lambda b: (-b.q, -b.expires_ns))

    def get(self, user: str, key: str) -> Binding | None:
        return self._users.get(user, {}).get(key)

    def keys(self, user: str) -> list[str]:
        return list(self._users.get(user, {}))

    def has_room(self, more: int) -> bool:
        return self._total + more <= self._total_max

    def apply(self, user: str, put: list[Binding], remove: list[str]) -> None:
        """Put and remove together, then tell of the change once.

        A device that comes back under another contact replaces itself (same instance and reg-id); a user with too
        many contacts loses the one refreshed the longest ago, mostly a device that left without a word.
        """
        for key in remove:
            self._drop(user, key)
        for binding in put:
            for other in list(self._users.get(user, {}).values()):
                if binding.instance and (other.instance, other.reg_id) == (binding.instance, binding.reg_id):
                    self._drop(user, other.key)
            self._drop(user, binding.key)
            mine = self._users.setdefault(user, {})
            while len(mine) >= self._per_user_max:
                self._drop(user, next(iter(mine)))
                self.pushed_out += 1
            self._users.setdefault(user, mine)[binding.key] = binding
            self._total += 1
            heapq.heappush(self._heap, (binding.expires_ns, user, binding.key))
            if binding.flow is not None:
                self._flows.setdefault(binding.flow, set()).add((user, binding.key))
        if put or remove:
            self._tell(user)

    def flow_closed(self, flow: Hashable) -> None:
        """A connection died: what was reachable by it alone is gone until the phone registers again (RFC 5626 §5.3)."""
        for user, key in self._flows.pop(flow, set()):
            binding = self._users[user][key]
            if binding.direct:
                self._users[user][key] = replace(binding, flow=None)
            else:
                self._drop(user, key)
            self._tell(user)

    def next_deadline(self) -> int | None:
        while self._heap and self._outdated(*self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def expire(self, now_ns: int) -> None:
        changed = set()
        while (deadline := self.next_deadline()) is not None and deadline <= now_ns:
            _, user, key = heapq.heappop(self._heap)
            self._drop(user, key)
            changed.add(user)
        for user in changed:
            self._tell(user)

    def _outdated(self, expires_ns: int, user: str, key: str) -> bool:
        binding = self.get(user, key)
        return binding is None or binding.expires_ns != expires_ns

    def _drop(self, user: str, key: str) -> None:
        mine = self._users.get(user)
        binding = mine.pop(key, None) if mine is not None else None
        if binding is None or mine is None:
            return
        self._total -= 1
        if not mine:
            del self._users[user]
        rows = self._flows.get(binding.flow)
        if rows is not None:
            rows.discard((user, key))
            if not rows:
                del self._flows[binding.flow]
        if len(self._heap) > 64 and len(self._heap) > 4 * self._total:  # refreshed rows pile up: throw out the dead
            self._heap = [row for row in self._heap if not self._outdated(*row)]
            heapq.heapify(self._heap)

    def _tell(self, user: str) -> None:
        if self._on_change is not None:
            self._on_change(user, tuple(self._users.get(user, {}).values()))
