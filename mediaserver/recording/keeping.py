"""How long recordings are kept, and how they end: erasure of a party, retention, legal hold, what a person may ask for.

Owns the order: key destroyed, tombstone signed, row changed. Files of an erased party stay in the chain, unreadable;
after retention journals go, and the signed manifest with its tombstones stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import structlog

from mediaserver.errors import StorageError
from mediaserver.limits import SPOOL_LOOK_S, SPOOL_WAIT_S_MAX
from mediaserver.recording import catalogue, keys, ledger, manifest, spool, spool_file
from mediaserver.recording.cabinet import Cabinet, journal_names
from mediaserver.recording.depacketize import FILM_FORMS
from mediaserver.recording.export import Form, export_recording, pictures_of
from mediaserver.recording.journal import is_sealed, summarize
from mediaserver.recording.keys import KeyRing, Signer
from mediaserver.store.recordings import EvidenceRow, RecordingRow, RecordingStore

log = structlog.get_logger(__name__)
EXPORTS = "exports"  # under data_dir: what was rendered for the API
RETENTION, SERVER = "retention", "server"  # why and who, when nobody did it
EXPIRED = "expired"
ERASED = "erased"
REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Keeper:
    """What keeping needs. ring None: the master keys are not here; what needs to look inside is refused."""

    root: Path
    store: RecordingStore
    signer: Signer
    ring: KeyRing | None
    exports: Path | None = None  # where rendered files lie: they go with what they were made of
    forget: Callable[[], Awaitable[None]] | None = None  # destroys the spools; None: another process writes them

    async def erase(self, recording_id: str, leg: str | None, reason: str, actor: str, wall: float) -> list[str]:
        """Makes one party, or with leg None all, unreadable for ever. Returns the journals.

        Raises LookupError if there is no such recording or party, StorageError while it is captured or on hold.
        """
        row = await self._may_go(recording_id)
        await self._leave_spools(row, wall)
        gone = await asyncio.to_thread(self._destroy, row, leg, reason, actor, wall)
        if leg is None or not await asyncio.to_thread(self._readable, row):
            await self.store.change(recording_id, state=ERASED, **_told(reason, actor, wall))
        await self.store.move(recording_id, "remote", "uploading")  # the bucket's copy of the manifest is old now
        await asyncio.to_thread(self._forget_renders, row)
        return gone

    async def remove(self, recording_id: str, reason: str, actor: str, wall: float) -> None:
        """All of it goes, here and in the bucket; manifest, ledger and catalogue say who removed it, when and why.

        Raises LookupError if it is not there (any more), StorageError while it is captured or on hold.
        """
        row = await self._may_go(recording_id)
        if row.state in (EXPIRED, REMOVED):
            raise LookupError(f"recording {recording_id} is gone already ({row.state})")
        await self._leave_spools(row, wall)
        await asyncio.to_thread(self._remove, row, reason, actor, wall)
        await self.store.change(recording_id, state=REMOVED, **_told(reason, actor, wall))
        await self._leave_bucket(recording_id)
        log.warning("recording.removed", recording=recording_id, by=actor)

    async def _leave_spools(self, row: RecordingRow, wall: float) -> None:
        """What it said last may still be in a spool, under another key. Raises StorageError if it stays there."""
        if wall - (row.ended_ms or row.started_ms) / 1000 > SPOOL_WAIT_S_MAX:
            return
        if self.forget is not None:
            await self.forget()
            return
        before = await asyncio.to_thread(spool.holding, self.root)
        for _ in range(round(SPOOL_WAIT_S_MAX / SPOOL_LOOK_S)):
            if not before:
                return
            await asyncio.sleep(SPOOL_LOOK_S)
            before &= await asyncio.to_thread(spool.holding, self.root)
        raise StorageError(
            f"recording {row.recording_id} ended a moment ago and {self.root / spool_file.FOLDER} may hold its last "
            "words; if the server has crashed, start it once, then try again"
        )

    async def _may_go(self, recording_id: str) -> RecordingRow:
        row = await self._row(recording_id)
        if row.state == "capturing":
            raise StorageError(
                f"recording {recording_id} is still running; a withdrawal of consent ends a channel at once"
            )
        if row.legal_hold:
            raise StorageError(f"recording {recording_id} is on legal hold: {row.legal_hold}")
        return row

    async def sweep(self, wall: float) -> list[str]:
        """Ends everything whose retention is over and that is not on hold. Returns the recordings."""
        done = []
        for row in await self.store.due(round(wall * 1000)):
            try:
                await asyncio.to_thread(self._remove, row, RETENTION, SERVER, wall)
            except (OSError, StorageError) as error:
                log.error("recording.not_expired", recording=row.recording_id, error=str(error))
                continue
            await self.store.change(row.recording_id, state=EXPIRED, **_told(RETENTION, SERVER, wall))
            await self._leave_bucket(row.recording_id)
            log.info("recording.expired", recording=row.recording_id)
            done.append(row.recording_id)
        return done

    async def hold(self, recording_id: str, reason: str) -> None:
        """Nothing deletes it while a reason stands; "" releases it. Raises LookupError."""
        await self._row(recording_id)
        await self.store.change(recording_id, legal_hold=reason)

    async def _leave_bucket(self, recording_id: str) -> None:
        """Only what never began to move has nothing there."""
        for before in ("local", "stays"):
            if await self.store.move(recording_id, before, "none"):
                return
        for before in ("uploading", "remote"):
            if await self.store.move(recording_id, before, "removing"):
                return

    async def _row(self, recording_id: str) -> RecordingRow:
        row = await self.store.get(recording_id)
        if row is None:
            raise LookupError(f"there is no recording {recording_id}")
        return row

    # -- blocking

    def _destroy(self, row: RecordingRow, leg: str | None, reason: str, actor: str, wall: float) -> list[str]:
        directory = self.root / row.directory
        journals = [
            directory / name for name in journal_names(self.root, row.directory) if _is_sealed(directory / name)
        ]
        chosen = [path for path in journals if leg is None or leg in (path.stem, self._leg_of(path))]
        if not chosen:
            raise LookupError(
                f"recording {row.recording_id} has no {'sealed journal' if leg is None else f'party {leg}'}"
            )
        told = manifest.tombstones(directory)
        for path in chosen:
            values = keys.read_key(path) or {}
            destroyed = keys.destroy_key(path)
            if destroyed or path.name not in told:  # a crash between the two is made up for by the next try
                key_id = str(values.get("key", ""))
                body = manifest.tombstone_body(row.recording_id, path.name, key_id, reason, actor, wall)
                manifest.append(directory, body, self.signer)
        return [path.name for path in chosen]

    def _leg_of(self, path: Path) -> str:
        """By the manifest, which is here also when the journal lies in the bucket; else by the journal."""
        if leg := manifest.legs(path.parent).get(path.name):
            return leg
        values = keys.read_key(path)
        if values is None or self.ring is None:
            return ""
        with contextlib.suppress(ValueError, StorageError, FileNotFoundError):
            return str(summarize(path, self.ring.unwrap(values)).header.get("leg", ""))
        return ""

    def legs_of(self, row: RecordingRow, number: str) -> list[str]:
        """Names of the journals this number spoke in, of those that can be read. Blocking."""
        found = []
        for path in catalogue.journals(self.root, row.directory):
            if catalogue.is_picture(path):
                continue
            values = keys.read_key(path)
            if values is not None and self.ring is not None:
                with contextlib.suppress(ValueError, StorageError):
                    header = summarize(path, self.ring.unwrap(values)).header
                    if header.get("party") == number:
                        found.append(path.stem)
        return found

    def _readable(self, row: RecordingRow) -> bool:
        folder = self.root / row.directory
        paths = [folder / name for name in journal_names(self.root, row.directory)]
        return any(not _is_sealed(path) or keys.read_key(path) for path in paths)

    def _remove(self, row: RecordingRow, reason: str, actor: str, wall: float) -> None:
        """The words before the deed, so that a crash leaves none of it unsaid. What was said is not said again."""
        folder = self.root / row.directory
        names = journal_names(self.root, row.directory)
        if manifest.read_lines(folder / manifest.NAME) and manifest.removal(folder) is None:
            body = manifest.removal_body(row.recording_id, names, reason, actor, wall)
            manifest.append(folder, body, self.signer)
            ledger.removed(self.root, row.directory, row.recording_id, reason, actor, self.signer, wall)
        if any(_is_sealed(folder / name) for name in names):
            with contextlib.suppress(LookupError):
                self._destroy(row, None, reason, actor, wall)
        for name in names:
            (folder / name).unlink(missing_ok=True)
        self._forget_renders(row)

    def _forget_renders(self, row: RecordingRow) -> None:
        for path in (self.root / row.directory).glob("message.*"):
            path.unlink(missing_ok=True)
        for path in self.exports.glob(f"{row.recording_id}.*") if self.exports is not None else ():
            path.unlink(missing_ok=True)


def _told(reason: str, actor: str, wall: float) -> dict[str, str | int]:
    return {"removed_ms": round(wall * 1000), "removed_by": actor[:64], "removed_why": reason}


def _is_sealed(path: Path) -> bool:
    """What lies in the bucket alone is: nothing else goes there."""
    try:
        return is_sealed(path)
    except FileNotFoundError:
        return True


def drop_old(folder: Path, kept_s: float) -> None:
    """Removes rendered files that have not been read for so long. Blocking."""
    for path in folder.glob("*"):
        status = path.stat()
        if path.is_file() and time.time() - max(status.st_atime, status.st_mtime) > kept_s:
            path.unlink(missing_ok=True)


def subject_archive(
    output: Path, number: str, parts: Sequence[tuple[RecordingRow, Sequence[EvidenceRow], Path | None, Sequence[Path]]]
) -> int:
    """What a person may ask to see (GDPR art. 15): a ZIP of its sound, pictures, evidence, rows. Returns how many.

    parts: each recording, its evidence, the audio of this person's channel alone (None: erased), what it showed.
    """
    with zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as archive:
        output.chmod(0o600)
        told: list[dict[str, Any]] = []
        for row, evidence, audio, pictures in parts:
            own = [_plain(asdict(item)) for item in evidence if item.party == number]
            values = _plain(asdict(row))
            for other in ("caller", "called"):
                if values[other] != number:
                    values[other] = "(another person)"
            shown = [path.name for path in pictures]
            told.append({"recording": values, "evidence": own, "audio": audio and audio.name, "pictures": shown})
            for path in (audio, *pictures):
                if path is not None:
                    archive.write(path, path.name)
        archive.writestr("about.json", json.dumps({"number": number, "recordings": told}, indent=2, ensure_ascii=False))
    return len(told)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {key: str(value) if isinstance(value, str) else value for key, value in values.items()}


async def collect_subject(
    keeper: Keeper, number: str, output: Path, folder: Path, cabinet: Cabinet | None = None
) -> int:
    """Renders this person's own channel and pictures of each recording into `folder`, then writes the archive.

    Raises LookupError if nothing is kept of this number.
    """
    rows = await keeper.store.of_party(number)
    if not rows:
        raise LookupError(f"nothing is kept of {number}")
    parts: list[tuple[RecordingRow, Sequence[EvidenceRow], Path | None, Sequence[Path]]] = []
    for row in rows:
        async with cabinet.held(row.directory) if cabinet is not None else contextlib.nullcontext():
            audio = await _own_channel(keeper, row, number, folder)
            pictures = await _own_pictures(keeper, row, number, folder)
        parts.append((row, await keeper.store.evidence(row.recording_id), audio, pictures))
    return await asyncio.to_thread(subject_archive, output, number, parts)


async def _own_channel(keeper: Keeper, row: RecordingRow, number: str, folder: Path) -> Path | None:
    """None: erased, or it never spoke. Of several the last."""
    audio = None
    for leg in await asyncio.to_thread(keeper.legs_of, row, number):
        with contextlib.suppress(LookupError, StorageError):
            target = folder / f"{row.recording_id}-{leg}.ogg"
            assert keeper.ring is not None
            audio = await export_recording(keeper.root, keeper.ring, row, "opus", target, only_leg=leg)
    return audio


async def _own_pictures(keeper: Keeper, row: RecordingRow, number: str, folder: Path) -> list[Path]:
    """A film of each camera and screen with this person's own sound, in whichever container its codec goes."""
    own = await asyncio.to_thread(keeper.legs_of, row, number)
    made: list[Path] = []
    for leg, picture in await asyncio.to_thread(pictures_of, keeper.root, row):
        for form in FILM_FORMS if leg in own else ():
            target = folder / f"{row.recording_id}-{leg}-{picture}.{form}"
            assert keeper.ring is not None
            with contextlib.suppress(LookupError, StorageError):
                made.append(
                    await export_recording(
                        keeper.root, keeper.ring, row, cast(Form, form), target, only_leg=leg, picture=picture
                    )
                )
                break
    return made
