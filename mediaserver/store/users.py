"""Users who may register: name, digest hashes, display name. The password itself is never stored.

Owns validation and the rows. Knows no digest arithmetic: the hashes are made by the SIP room and handed in.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from mediaserver.errors import StorageError
from mediaserver.limits import USER_NAME_LENGTH_MAX
from mediaserver.store.database import Database
from mediaserver.store.models import users

# RFC 3261's user characters without those that need escaping or mean something in a URI, a path or a shell.
NAME_PATTERN = re.compile(r"[A-Za-z0-9_.!~*'()=+$#-]+", re.ASCII)
_FIRST_PATTERN = re.compile(r"[A-Za-z0-9_]|\+[0-9]+\Z", re.ASCII)
LANGUAGE_PATTERN = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{1,4})?", re.ASCII)
HEX_PATTERN = re.compile(r"[0-9a-f]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class User:
    """One row. ha1_*: lower-case hex of the hash over name:realm:password (RFC 7616 §3.4.2); never shown."""

    name: str
    realm: str
    ha1_sha256: str = field(repr=False)
    ha1_md5: str = field(repr=False)
    display_name: str = ""
    language: str = ""  # of prompts; empty: the server's
    created: float = 0.0  # wall seconds, UTC

    def __post_init__(self) -> None:
        check_name(self.name)
        if not self.realm:
            raise ValueError(f"user {self.name}: the realm is empty; it is server.realm of the configuration")
        for value, length in ((self.ha1_sha256, 64), (self.ha1_md5, 32)):
            if len(value) != length or not HEX_PATTERN.fullmatch(value):
                raise ValueError(f"user {self.name}: a digest hash must be {length} lower-case hex characters")
        if len(self.display_name) > 128 or not self.display_name.isprintable():
            raise ValueError(f"user {self.name}: the display name is at most 128 printable characters")
        if self.language and not LANGUAGE_PATTERN.fullmatch(self.language):
            raise ValueError(f"user {self.name}: language is a code like en or ru, got {self.language!r}")


def check_name(name: str) -> str:
    """The name if it can be a SIP user part typed on a phone. Raises ValueError with what is allowed."""
    if not name or len(name) > USER_NAME_LENGTH_MAX or not NAME_PATTERN.fullmatch(name):
        raise ValueError(
            f"user name {name[:80]!r}: 1 to {USER_NAME_LENGTH_MAX} letters, digits or _ . ! ~ * ' ( ) = + $ # - "
            "without spaces, for example 1001 or alice"
        )
    return name


def check_new_name(name: str) -> str:
    """Also refuses what a spreadsheet takes for a formula, but for telephone numbers: such a name ends up in CSV files.

    Raises ValueError with what is allowed. Users that are there keep their names.
    """
    check_name(name)
    if not _FIRST_PATTERN.match(name):
        raise ValueError(
            f"user name {name[:80]!r} begins like a spreadsheet's formula or an option; "
            "begin with a letter, a digit or _, or write a number as +4930123456"
        )
    return name


class UserStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, user: User) -> None:
        """Raises ValueError if the name is taken, StorageError if the database does not take it."""
        try:
            async with self._database.write() as connection:
                await connection.execute(insert(users).values(**_columns(user)))
        except StorageError as error:
            if isinstance(error.__cause__, IntegrityError):
                raise ValueError(f"user {user.name} exists already; change the password or remove it first") from error
            raise

    async def set_password(self, name: str, ha1_sha256: str, ha1_md5: str, *, realm: str, changed: float) -> bool:
        """New hashes (they depend on the realm too). changed: wall seconds. False: no such user."""
        checked = User(name, realm, ha1_sha256, ha1_md5)
        async with self._database.write() as connection:
            result = await connection.execute(
                update(users)
                .where(users.c.name == name)
                .values(
                    realm=realm,
                    ha1_sha256=checked.ha1_sha256,
                    ha1_md5=checked.ha1_md5,
                    changed_ms=round(changed * 1000),
                )
            )
        return result.rowcount > 0

    async def remove(self, name: str) -> bool:
        """False: no such user."""
        async with self._database.write() as connection:
            result = await connection.execute(delete(users).where(users.c.name == name))
        return result.rowcount > 0

    async def list(self) -> list[User]:
        async with self._database.read() as connection:
            rows = (await connection.execute(select(users).order_by(users.c.name))).mappings().all()
        return [_user(dict(row)) for row in rows]

    async def get(self, name: str) -> User | None:
        async with self._database.read() as connection:
            row = (await connection.execute(select(users).where(users.c.name == name))).mappings().first()
        return None if row is None else _user(dict(row))

    async def marker(self) -> tuple[int, int, int]:
        """Changes whenever a user was added, changed or removed, by whatever process: poll it to refresh a cache."""
        query = select(
            func.count(), func.coalesce(func.max(users.c.changed_ms), 0), func.coalesce(func.sum(users.c.changed_ms), 0)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one()
        return int(row[0]), int(row[1]), int(row[2])


def _columns(user: User) -> dict[str, Any]:
    return {
        "name": user.name,
        "realm": user.realm,
        "ha1_sha256": user.ha1_sha256,
        "ha1_md5": user.ha1_md5,
        "display_name": user.display_name,
        "language": user.language,
        "created": user.created,
        "changed_ms": round(user.created * 1000),
    }


def _user(row: dict[str, Any]) -> User:
    row.pop("changed_ms")
    return User(**row)
