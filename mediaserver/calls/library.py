"""Call programs by name: the shipped ones, and the operator's own files, read again when they change.

A running call keeps the code it started with. A file that cannot be imported keeps its former version; the log says
where it fails. Owns no call.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog

from mediaserver.errors import MediaServerError

log = structlog.get_logger()
Program = Callable[[Any], Awaitable[None]]
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_SHIPPED = "mediaserver.calls.programs"


class ProgramMissing(MediaServerError):
    """No program of that name, or its file cannot be imported and never could."""


def program_names(own_dir: Path | None) -> frozenset[str]:
    """Names a rule may give: the shipped programs and the files in `routing.programs_dir` as they are now."""
    shipped = importlib.import_module(_SHIPPED).__path__
    names = {module.name for module in pkgutil.iter_modules(shipped)}
    try:
        names |= {path.stem for path in own_dir.glob("*.py")} if own_dir is not None else set()
    except OSError as error:
        log.warning("programs of your own cannot be listed", folder=str(own_dir), error=str(error))
    return frozenset(name for name in names if _NAME.fullmatch(name))


class ProgramLibrary:
    def __init__(self, own_dir: Path | None) -> None:
        """own_dir: `routing.programs_dir`; a file NAME.py there goes before a shipped program of that name."""
        self._own_dir = own_dir
        self._loaded: dict[str, tuple[int, Program | None]] = {}

    def find(self, name: str) -> Program:
        """The program as its file says now. Raises ProgramMissing."""
        if not _NAME.fullmatch(name):
            raise ProgramMissing(f"{name!r} is no program name; use a-z, 0-9, - and _")
        own = self._find_own(name)
        if own is not None:
            return own
        module_name = f"{_SHIPPED}.{name.replace('-', '_')}"
        if importlib.util.find_spec(module_name) is None:
            where = f" nor in {self._own_dir}" if self._own_dir is not None else ""
            raise ProgramMissing(f"no call program {name!r} is shipped{where}")
        return _program_of(importlib.import_module(module_name))

    def _find_own(self, name: str) -> Program | None:
        if self._own_dir is None:
            return None
        path = self._own_dir / f"{name}.py"
        try:
            changed_ns = path.stat().st_mtime_ns
        except OSError:
            return None
        seen, program = self._loaded.get(name, (None, None))
        if seen != changed_ns:
            try:
                program = self._import(name, path, changed_ns)
                log.info("call program read", program=name, file=str(path))
            except Exception as error:
                kept = "the former version stays" if program is not None else "calls to it fail"
                log.error(f"call program cannot be read; {kept}", program=name, at=place_of(error), error=repr(error))
            self._loaded[name] = (changed_ns, program)
        if program is None:
            raise ProgramMissing(f"{path} cannot be imported; the log says why")
        return program

    @staticmethod
    def _import(name: str, path: Path, changed_ns: int) -> Program:
        # Compiled from the text, not through importlib's cache: that one would miss two changes within a second.
        spec = importlib.util.spec_from_file_location(
            f"mediaserver_program_{name.replace('-', '_')}_{changed_ns}", path
        )
        if spec is None:
            raise ImportError(f"{path} is no Python file")
        module = importlib.util.module_from_spec(spec)
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)  # noqa: S102  (the operator's own code)
        return _program_of(module)


def _program_of(module: Any) -> Program:
    program = getattr(module, "program", None)
    if not inspect.iscoroutinefunction(program):
        raise TypeError(f"{module.__name__} needs `async def program(call): …`")
    return program


def place_of(error: BaseException) -> str:
    """`file:line` where it was raised; for a syntax error, where the text is wrong."""
    if isinstance(error, SyntaxError) and error.filename is not None:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "unknown"
