"""What one peer could speak instead of what it speaks now, as far as its descriptions say. RFC 3264 §5, §6.

Owns what was learnt over a dialog; one per negotiator. Decides nothing: whether a better codec is asked for is the call
room's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from mediaserver.sdp.formats import Encoding, is_narrow


class Ability:
    """Told of each description of the peer."""

    def __init__(self, allowed: Sequence[Encoding]) -> None:
        """allowed: what we may speak with this peer, in our order."""
        self._allowed = allowed
        self._has: set[Encoding] = set()
        self._may_have: set[Encoding] = set()
        self._declined = False  # it chose narrowband although something wider stood before it

    def offered(self, theirs: Sequence[Encoding]) -> None:
        """The peer's own offer: all that it has, and what it may have declined before does not count any more."""
        self._has = set(theirs)
        self._declined = False

    def answered(self, offered: Sequence[Encoding], theirs: Sequence[Encoding]) -> None:
        """The peer's answer. offered: ours, in the order that it was read in; theirs: what the answer lists, not empty.

        One that lists a single codec has only said what it chose: it may have all that was offered.
        """
        wider = [encoding for encoding in offered[: offered.index(theirs[0])] if not is_narrow(encoding)]
        self._declined = is_narrow(theirs[0]) and bool(wider)
        self._has |= set(theirs)
        self._may_have = set(offered) if len(theirs) == 1 else set()

    def wider_than(self, current: Encoding, *, sure: bool = False) -> tuple[Encoding, ...]:
        """Wideband that could be asked for instead, best first; (): none, or it was asked and chose this one.

        What our own order has behind the current codec is not wanted. sure: only what the peer itself has listed.
        """
        if not is_narrow(current) or self._declined:
            return ()
        before = self._allowed[: self._allowed.index(current)] if current in self._allowed else self._allowed
        known = self._has if sure else self._has | self._may_have
        return tuple(encoding for encoding in before if encoding in known and not is_narrow(encoding))
