"""`a=rtcp-xr`, RFC 3611 §5.1 and RFC 7294 §5: which RTCP extended reports a party asks for.

What a party writes is what it wants to be sent; nothing else is agreed by it. Unknown words are stepped over.
"""

from __future__ import annotations

from mediaserver.sdp.description import Media, Session

# Of StreamSettings.xr_blocks, as ext/xr.pxd XrBlocks has them.
REFERENCE_TIME, SUMMARY, VOIP, CONCEALMENT = 1, 2, 4, 8
WORDS = {
    "rcvr-rtt": REFERENCE_TIME,
    "stat-summary": SUMMARY,
    "voip-metrics": VOIP,
    "loss-conceal": CONCEALMENT,
    "conc-sec": CONCEALMENT,
}
OURS = "rcvr-rtt=all stat-summary=loss,dup voip-metrics loss-conceal conc-sec"


def asked_blocks(session: Session, media: Media) -> int:
    """What the peer asks for at either level; 0: nothing, then it is sent none."""
    blocks = 0
    for level in (session, media):
        for attribute in level.attributes:
            if attribute.name == "rtcp-xr":
                for word in (attribute.value or "").split():
                    blocks |= WORDS.get(word.split("=", 1)[0].lower(), 0)
    return blocks
