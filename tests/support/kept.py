"""A recorded call, a shipper and the bucket it moves to."""

from __future__ import annotations

from mediaserver.recording.cabinet import Cabinet, StorageStats
from mediaserver.recording.shipping import Shipper
from mediaserver.store.blobs import S3Blobs
from mediaserver.store.recordings import RecordingRow
from tests.support.recorder_room import Room, recorded


class Kept:
    def __init__(self, room: Room, blobs: S3Blobs) -> None:
        self.room, self.blobs = room, blobs
        self.stats = StorageStats()
        self.shipper = self.another_shipper()
        self.cabinet = Cabinet(room.recorder.root, blobs, 1 << 30, 0, self.stats)

    def another_shipper(self) -> Shipper:
        room = self.room
        return Shipper(room.recorder.root, room.store, self.blobs, room.clock, 60, self.stats)

    async def record(self, rest_s: int = 61) -> None:
        self.id, self.folder = await recorded(self.room)
        self.directory = str(self.folder.relative_to(self.room.recorder.root))
        self.room.clock.advance(rest_s * 1_000_000_000)

    async def row(self) -> RecordingRow:
        row = await self.room.store.get(self.id)
        assert row is not None
        return row

    def journals(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.glob("*.journal")}

    async def objects(self) -> dict[str, bytes]:
        names = await self.blobs.names(self.directory)
        return {name.rsplit("/", 1)[1]: await self.blobs.get(name) for name in names}
