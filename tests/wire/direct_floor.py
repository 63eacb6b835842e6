"""What two phones reach without a server between them: the ceiling that the floors of test_pairs stand under.

By hand: `python -m tests.wire.direct_floor`.
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

from tests.support.baresip import Baresip
from tests.support.listen import pesq_score
from tests.support.speech import speech

CODECS = {
    "PCMU": ("PCMU/8000/1", 8_000),
    "PCMA": ("PCMA/8000/1", 8_000),
    "G722": ("G722/16000/1", 16_000),
    "opus": ("opus/48000/1", 48_000),
}


async def direct(name: str, folder: Path) -> tuple[float, float]:
    codec, rate = CODECS[name]
    phones = [
        Baresip(
            folder / f"{name}-{speaker}",
            port,
            port + 2,
            speech(speaker, rate, tail_s=60),
            rate,
            (codec,),
            user=speaker,
            server=f"127.0.0.1:{other}",
        )
        for speaker, port, other in (("ann", 16_000, 16_010), ("bob", 16_010, 16_000))
    ]
    try:
        for phone in phones:
            await phone.start()
        await phones[0].dial("sip:bob@127.0.0.1:16010")
        await phones[0].wait_for("CALL_ESTABLISHED")
        await asyncio.sleep(11)
        await phones[0].hang_up()
        await phones[0].wait_for("CALL_CLOSED")
        await asyncio.sleep(0.5)
        wide = rate > 8_000
        return (
            pesq_score(speech("ann", 16_000), phones[1].heard(), wideband=wide),
            pesq_score(speech("bob", 16_000), phones[0].heard(), wideband=wide),
        )
    finally:
        for phone in phones:
            await phone.stop()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in CODECS:
            print(name, *(round(score, 2) for score in await direct(name, Path(folder))))


if __name__ == "__main__":
    asyncio.run(main())
