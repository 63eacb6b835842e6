"""What a WHEP viewer says it wants to see: query parameters of its POST, later the draft's layer selection extension.

Owns names, checks and refusals of these words. What they do is `calls.picture_choice`'s and `calls.room_video`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from aiohttp import web

from mediaserver.api.answers import Refused, refusal
from mediaserver.calls.picture_choice import BY_NAME, Named, PictureChoice
from mediaserver.limits import WHEP_CHOICE_BYTES_MAX, WHEP_CHOICE_CHARS_MAX

CHOICE_TYPE = "application/json"
LAYER_EXTENSION = "urn:ietf:params:whep:ext:core:layer"
# Of the draft's others, mediaId is not needed (one picture is shown), and spatial layers are inside one stream.
_NAMES = {"participant": "participant", "encodingId": "layer"}


def chosen_at_first(query: Mapping[str, str]) -> PictureChoice:
    """?participant=WHO&layer=RID. Raises Refused."""
    return PictureChoice(_word(query.get("participant", "")), _word(query.get("layer", "")))


async def choose_later(request: web.Request, choice: PictureChoice) -> None:
    """{"encodingId": RID, "participant": WHO}: what is not named stays, "" or null lets us choose. Raises Refused."""
    if request.content_type != CHOICE_TYPE:
        raise Refused(refusal(415, "unsupported_media_type", f"the body must be {CHOICE_TYPE}"))
    body = await request.read()
    try:
        said = json.loads(body) if len(body) <= WHEP_CHOICE_BYTES_MAX else None
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict) or not set(said) & set(_NAMES):
        raise Refused(refusal(400, "bad_request", 'the body must be {"encodingId": …, "participant": …}, one of them'))
    wanted = {"participant": choice.participant, "layer": choice.layer}
    wanted |= {ours: _word(said[theirs]) for theirs, ours in _NAMES.items() if theirs in said}
    if wanted["participant"] and wanted["participant"] != choice.participant:
        refuse_nobody(choice.who_is(wanted["participant"]))
    choice.change(**wanted)


def refuse_nobody(named: Named) -> None:
    """Raises Refused: 404 for nobody, 409 for a name that several are shown by."""
    if named is Named.NOBODY:
        text = f'no participant has this id or user name; a shown name is asked for as "{BY_NAME}…"'
        raise Refused(refusal(404, "not_found", text))
    refuse_several(named)


def refuse_several(named: Named) -> None:
    """Raises Refused."""
    if named is Named.SEVERAL:
        text = "several participants are shown by this name; ask for an id or a user name"
        raise Refused(refusal(409, "ambiguous", text))


def _word(text: object) -> str:
    if text is None:
        return ""
    if not isinstance(text, str) or len(text) > WHEP_CHOICE_CHARS_MAX:
        allowed = f"a text of at most {WHEP_CHOICE_CHARS_MAX} characters"
        raise Refused(refusal(400, "bad_request", f"a participant or layer is {allowed}"))
    return text
