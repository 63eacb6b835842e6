"""Who may review: names, roles, the queues each may see, their sessions and the share links they gave out.

Owns the rows of `reviewers`, `review_sessions` and `review_shares`. Holds no secret: passwords come as argon2 hashes,
cookies and links as SHA-256. Knows neither HTTP nor what a role may do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from mediaserver.errors import StorageError
from mediaserver.store.database import Database
from mediaserver.store.models import review_sessions, review_shares, reviewers
from mediaserver.store.users import check_name, check_new_name

ROLES = ("qa", "supervisor", "admin", "auditor", "agent")
# In the place of a password's hash: this person comes by the issuer. With the SHA-256 of issuer and subject behind it
# once somebody came: the name is theirs then. No password fits it.
FROM_ISSUER = "oidc:"


@dataclass(frozen=True, slots=True)
class Reviewer:
    """queues: names of routing rules whose recordings it sees; None: all."""

    name: str
    password_hash: str = field(repr=False)
    role: str
    queues: tuple[str, ...] | None
    created_ms: int

    def __post_init__(self) -> None:
        check_name(self.name.replace("@", ".", 1))  # may be an address of mail
        if self.role not in ROLES:
            raise ValueError(f"reviewer {self.name}: the role is one of {', '.join(ROLES)}, got {self.role!r}")

    @property
    def from_issuer(self) -> bool:
        return self.password_hash.startswith(FROM_ISSUER)


def check_new_reviewer(name: str) -> str:
    """The name, when a new reviewer may have it. Raises ValueError."""
    check_new_name(name.replace("@", ".", 1))
    return name


@dataclass(frozen=True, slots=True)
class Session:
    token_sha256: str = field(repr=False)
    reviewer: str
    share_id: str  # "": a person's
    csrf: str = field(repr=False)
    expires_ms: int


@dataclass(frozen=True, slots=True)
class Share:
    """A link to one recording, or a range of it, for whoever holds it, until it expires."""

    share_id: str
    token_sha256: str = field(repr=False)
    recording_id: str
    from_ms: int
    to_ms: int | None
    created_by: str
    created_ms: int
    expires_ms: int


class ReviewerStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, reviewer: Reviewer) -> None:
        """Raises ValueError if the name is taken."""
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(reviewers).values(**_columns(reviewer)))
        except StorageError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise ValueError(f"reviewer {reviewer.name} exists already; --update changes it") from error
            raise

    async def change(self, reviewer: Reviewer) -> bool:
        """Password, role and queues; all its sessions end. False: no such reviewer."""
        values = _columns(reviewer)
        values.pop("created_ms")
        async with self._database.write() as connection:
            await connection.execute(delete(review_sessions).where(review_sessions.c.reviewer == reviewer.name))
            result = await connection.execute(
                update(reviewers).where(reviewers.c.name == reviewer.name).values(**values)
            )
        return result.rowcount > 0

    async def set_password(self, name: str, password_hash: str, keep_token_sha256: str) -> None:
        """Its other sessions end in the same transaction."""
        async with self._database.write() as connection:
            await connection.execute(
                update(reviewers).where(reviewers.c.name == name).values(password_hash=password_hash)
            )
            await connection.execute(
                delete(review_sessions).where(
                    review_sessions.c.reviewer == name, review_sessions.c.token_sha256 != keep_token_sha256
                )
            )

    async def remove(self, name: str) -> bool:
        """With its sessions and the links it gave out. False: no such reviewer."""
        async with self._database.write() as connection:
            await connection.execute(delete(review_sessions).where(review_sessions.c.reviewer == name))
            given = select(review_shares.c.share_id).where(review_shares.c.created_by == name)
            await connection.execute(delete(review_sessions).where(review_sessions.c.share_id.in_(given)))
            await connection.execute(delete(review_shares).where(review_shares.c.created_by == name))
            result = await connection.execute(delete(reviewers).where(reviewers.c.name == name))
        return result.rowcount > 0

    async def list(self) -> list[Reviewer]:
        async with self._database.read() as connection:
            rows = (await connection.execute(select(reviewers).order_by(reviewers.c.name))).mappings().all()
        return [_reviewer(dict(row)) for row in rows]

    async def get(self, name: str) -> Reviewer | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(reviewers).where(reviewers.c.name == name))).mappings().first()
        return None if row is None else _reviewer(dict(row))

    # -- sessions

    async def begin(self, session: Session, now_ms: int) -> None:
        """Ended ones are swept at the same time: the table holds what is alive."""
        async with self._database.write() as connection:
            await connection.execute(delete(review_sessions).where(review_sessions.c.expires_ms <= now_ms))
            await connection.execute(
                insert(review_sessions).values(
                    token_sha256=session.token_sha256,
                    reviewer=session.reviewer,
                    share_id=session.share_id,
                    csrf=session.csrf,
                    expires_ms=session.expires_ms,
                )
            )

    async def session(self, token_sha256: str, now_ms: int) -> Session | None:
        query = select(review_sessions).where(
            review_sessions.c.token_sha256 == token_sha256, review_sessions.c.expires_ms > now_ms
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else Session(**row)

    async def end(self, token_sha256: str) -> None:
        async with self._database.write() as connection:
            await connection.execute(delete(review_sessions).where(review_sessions.c.token_sha256 == token_sha256))

    async def end_all(self, reviewer: str) -> None:
        """Of one person."""
        async with self._database.write() as connection:
            await connection.execute(delete(review_sessions).where(review_sessions.c.reviewer == reviewer))

    # -- share links

    async def add_share(self, share: Share) -> None:
        names = ("share_id", "token_sha256", "recording_id", "from_ms", "to_ms", "created_by", "created_ms")
        values = {name: getattr(share, name) for name in (*names, "expires_ms")}
        async with self._database.write() as connection:
            await connection.execute(insert(review_shares).values(**values))

    async def share(self, *, now_ms: int, token_sha256: str = "", share_id: str = "") -> Share | None:
        """By what the link holds, or by its id. None: there is none, or it is over."""
        which = review_shares.c.token_sha256 == token_sha256 if token_sha256 else review_shares.c.share_id == share_id
        query = select(review_shares).where(which, review_shares.c.expires_ms > now_ms)
        async with self._database.read() as connection:
            row = (await connection.execute(query)).mappings().first()
        return None if row is None else Share(**row)

    async def shares(self, recording_id: str, now_ms: int) -> Sequence[Share]:
        """Those of a recording that still work, the newest first."""
        query = (
            select(review_shares)
            .where(review_shares.c.recording_id == recording_id, review_shares.c.expires_ms > now_ms)
            .order_by(review_shares.c.created_ms.desc())
        )
        async with self._database.read() as connection:
            return [Share(**row) for row in (await connection.execute(query)).mappings()]

    async def end_share(self, share_id: str) -> bool:
        async with self._database.write() as connection:
            await connection.execute(delete(review_sessions).where(review_sessions.c.share_id == share_id))
            result = await connection.execute(delete(review_shares).where(review_shares.c.share_id == share_id))
        return result.rowcount > 0


def _columns(reviewer: Reviewer) -> dict[str, object]:
    return {
        "name": reviewer.name,
        "password_hash": reviewer.password_hash,
        "role": reviewer.role,
        "queues": json.dumps(None if reviewer.queues is None else list(reviewer.queues)),
        "created_ms": reviewer.created_ms,
    }


def _reviewer(row: dict[str, object]) -> Reviewer:
    queues = json.loads(str(row["queues"]))
    return Reviewer(
        name=str(row["name"]),
        password_hash=str(row["password_hash"]),
        role=str(row["role"]),
        queues=None if queues is None else tuple(queues),
        created_ms=int(str(row["created_ms"])),
    )
