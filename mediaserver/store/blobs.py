"""Blobs in an S3 bucket: whole small objects in and out. The only importer of obstore.

Owns the names' prefix, what each failure means and how often it is tried at once. Knows no recording. An object goes
with its SHA-256 (x-amz-checksum-sha256), which the store checks while it takes it; whether it is there later is
another question, and the caller's to ask by reading.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from mediaserver.errors import StorageError
from mediaserver.limits import BLOB_TRIES_MAX
from mediaserver.settings import S3Settings

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")
REASON_CHARACTERS_MAX = 200
TRY_PAUSE_S = 0.2  # before the second try; doubles
_REFUSALS = (
    "NoSuchBucket",
    "AccessDenied",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "InvalidBucketName",
    "PermanentRedirect",
    "RequestTimeTooSkewed",
)
_CODE = re.compile(r"<Code>([A-Za-z.]{1,64})</Code>")
_STATUS = re.compile(r"status code: (\d{3})")


class BlobError(StorageError):
    """reason: for counters. unavailable: no answer, in time or at all. refused: as set up it can never work."""

    reason = "unavailable"


class BlobRefused(BlobError):
    reason = "refused"


class BlobMissing(BlobError):
    reason = "missing"


class S3Blobs:
    """A bucket. Every method raises BlobError, or one of its kinds."""

    def __init__(self, settings: S3Settings, *, tries: int = BLOB_TRIES_MAX, try_pause_s: float = TRY_PAUSE_S) -> None:
        """Raises StorageError if the package is not installed or the settings make no store."""
        try:
            import obstore
            from obstore.exceptions import BaseError
            from obstore.store import S3Store
        except ModuleNotFoundError as error:
            raise StorageError("s3.bucket needs the Python package obstore: pip install 'mediaserver[s3]'") from error
        self._obstore = obstore
        self._where = f"S3 bucket {settings.bucket}"
        given = {"access_key_id": settings.access_key_id} if settings.access_key_id else {}
        if secret := settings.secret_access_key.get_secret_value():
            given["secret_access_key"] = secret
        if settings.endpoint:
            given["endpoint"] = settings.endpoint.rstrip("/")
        try:
            self._store: S3Store = S3Store(
                settings.bucket,
                prefix=settings.prefix.strip("/") or None,
                region=settings.region,
                checksum_algorithm="sha256",
                virtual_hosted_style_request=settings.virtual_hosted,
                client_options={
                    "allow_http": settings.endpoint.startswith("http:"),
                    "timeout": timedelta(seconds=settings.timeout_s),
                    "connect_timeout": timedelta(seconds=min(settings.timeout_s, 5.0)),
                },
                retry_config={
                    "max_retries": tries - 1,
                    "retry_timeout": timedelta(seconds=settings.timeout_s * tries),
                    "backoff": {"init_backoff": timedelta(seconds=try_pause_s), "max_backoff": timedelta(seconds=5)},
                },
                **given,  # type: ignore[arg-type]
            )
        except (BaseError, ValueError) as error:
            raise StorageError(f"{self._where}: {_words(error)}") from None

    async def put(self, name: str, data: bytes) -> None:
        """Makes or replaces."""
        await self._asked(self._obstore.put_async(self._store, name, data, use_multipart=False), writes=True)

    async def get(self, name: str) -> bytes:
        """Raises BlobMissing, too."""

        async def read() -> bytes:
            answer = await self._obstore.get_async(self._store, name)
            return bytes(await answer.bytes_async())

        return await self._asked(read())

    async def size(self, name: str) -> int | None:
        """None: it is not there."""
        try:
            meta = await self._asked(self._obstore.head_async(self._store, name))
        except BlobMissing:
            return None
        return int(meta["size"])

    async def names(self, folder: str) -> list[str]:
        """Everything under a folder."""

        async def read() -> list[str]:
            found = []
            async for batch in self._obstore.list(self._store, folder):
                found += [str(item["path"]) for item in batch]
            return found

        return await self._asked(read())

    async def delete(self, names: Sequence[str]) -> None:
        """What is not there is no error."""
        if names:
            await self._asked(self._obstore.delete_async(self._store, list(names)), writes=True)

    async def _asked(self, work: Awaitable[T], *, writes: bool = False) -> T:
        """writes: a 404 then means that the bucket is not there."""
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            return await work
        except FileNotFoundError as error:
            if writes or "NoSuchBucket" in str(error):
                raise BlobRefused(f"{self._where}: {_words(error)}") from None
            raise BlobMissing(f"{self._where}: an object is not there") from None
        except (PermissionDeniedError, UnauthenticatedError) as error:
            raise BlobRefused(f"{self._where}: {_words(error)}") from None
        except (BaseError, OSError, ValueError) as error:
            words = _words(error)
            kind = BlobRefused if any(code in words for code in _REFUSALS) else BlobError
            raise kind(f"{self._where}: {words}") from None


def _words(error: BaseException) -> str:
    """What the store said, in short: its code, else its first line. Never what it echoes of the request."""
    text = str(error)
    code, status = _CODE.search(text), _STATUS.search(text)
    if status is not None:
        return f"answers {status[1]}" + (f" {code[1]}" if code is not None else "")
    first = text.split("\n", 1)[0].split(" - ", 1)[-1].strip()
    return f"does not answer ({first[:REASON_CHARACTERS_MAX]})"
