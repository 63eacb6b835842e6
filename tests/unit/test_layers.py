"""Who may import whom, read from every import and cimport of the tree; and what must not stand in any file.

The table is that of docs/architecture.md. A room not named on the right of its row may not be imported by it, not even
inside a function: an import that only runs later is a dependency all the same.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = {"model", "errors", "limits", "clock", "settings"}

# Room: the rooms it may import, besides itself.
ALLOWED: dict[str, set[str]] = {
    "model": set(),
    "errors": set(),
    "limits": set(),
    "clock": set(),
    "settings": {"model", "errors", "limits"},
    "codecs": VOCABULARY,
    "ext": VOCABULARY | {"codecs"},
    "media": VOCABULARY | {"codecs", "ext"},
    "sip": VOCABULARY,
    "sdp": VOCABULARY,
    "webrtc": VOCABULARY,
    "store": VOCABULARY,
    "calls": VOCABULARY | {"media", "sip", "sdp", "webrtc"},
    "recording": VOCABULARY | {"codecs", "media", "store"},  # a render decodes what was captured
    "quality": VOCABULARY | {"media", "store"},
    "logs": VOCABULARY,
    "bootstrap": VOCABULARY,
    "web": VOCABULARY,
    "api": VOCABULARY | {"bootstrap", "sip", "sdp", "media", "calls", "recording", "quality", "store", "webrtc", "web"},
    "demo": VOCABULARY
    | {"sip", "sdp", "media", "calls", "store"},  # both ends of a call: phones are made of our own parts
}
# Outermost: may import everything below, and each other, but nothing below may import them.
OUTERMOST = {"app", "cli"}
# The only importer of each foreign package: the rest of the house stays free of it.
ONLY_IMPORTER = {
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "aiosqlite": {"store"},
    "obstore": {"store"},
    "opentelemetry": {"quality"},
    "uvloop": {"app"},
    "OpenSSL": {"webrtc"},
    "aiohttp": {"api"},
    "prometheus_client": {"api"},
    "jwt": {"api"},
    "argon2": {"api"},
    "aiortc": {"webrtc"},
    "typer": {"cli"},
    "rich": {"cli"},
}


def room(module: str) -> str:
    """mediaserver.sip.parser -> sip; files of one command or of the settings belong together."""
    part = module.split(".")[1] if "." in module else ""
    if part == "__main__":
        return "cli"
    for family in ("cli", "settings", "app", "model"):
        if part == family or part.startswith(f"{family}_"):
            return family
    return part


def python_imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for name in node.names:
                yield node.lineno, name.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write mediaserver.…"
            module = node.module or ""
            yield node.lineno, module
            for name in node.names:  # `from mediaserver import sip` imports a room too
                if module == "mediaserver":
                    yield node.lineno, f"mediaserver.{name.name}"


CYTHON_IMPORT = re.compile(r"^\s*(?:from\s+([\w.]+)\s+c?import|c?import\s+([\w.]+))\b")


def cython_imports(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if found := CYTHON_IMPORT.match(line):
            yield number, found[1] or found[2]


def sources() -> Iterator[tuple[str, Path]]:
    """Module name and file of everything in the package; the links codecs and ext stand for their folders."""
    for folder in ("mediaserver", "codecs", "ext"):
        for path in sorted((ROOT / folder).rglob("*.py*")):
            if path.suffix not in (".py", ".pyi", ".pyx", ".pxd") or "__pycache__" in path.parts:
                continue
            if folder == "mediaserver" and path.relative_to(ROOT / folder).parts[0] in ("codecs", "ext", "config"):
                continue
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name if folder == "mediaserver" else f"mediaserver.{name}", path


def imports() -> Iterator[tuple[str, str, str]]:
    """Importing room, imported module, place."""
    for module, path in sources():
        read = cython_imports if path.suffix in (".pyx", ".pxd") else python_imports
        for line, imported in read(path):
            yield room(module), imported, f"{path.relative_to(ROOT)}:{line}"


def complaints() -> Iterator[str]:
    for importer, imported, place in imports():
        top = imported.split(".")[0]
        if top in ONLY_IMPORTER and importer not in ONLY_IMPORTER[top]:
            yield f"{place}: {importer} imports {top}; only {', '.join(ONLY_IMPORTER[top])} may"
        if top != "mediaserver" or imported == "mediaserver":
            continue
        target = room(imported)
        if target == "ext" and importer not in ("ext", "media"):
            yield f"{place}: {importer} imports ext; only media may"
        if importer in OUTERMOST:
            continue
        if target.startswith("__") or target == importer:  # the package's own version
            continue
        if target not in ALLOWED[importer]:
            yield f"{place}: {importer} imports {target}; allowed: {', '.join(sorted(ALLOWED[importer])) or 'nothing'}"


def test_every_import_keeps_to_the_table() -> None:
    assert list(complaints()) == []


def test_every_room_of_the_tree_stands_in_the_table() -> None:
    rooms = {room(module) for module, _ in sources()} - {"", "__init__", "__main__"}
    assert rooms - OUTERMOST <= set(ALLOWED)


def test_the_table_has_no_cycle() -> None:
    settled: set[str] = set()
    waiting = dict(ALLOWED)
    while waiting:
        free = {name for name, below in waiting.items() if below <= settled}
        assert free, f"a cycle among {sorted(waiting)}"
        settled |= free
        waiting = {name: below for name, below in waiting.items() if name not in free}


@pytest.mark.parametrize(
    ("line", "module"),
    [
        ("cimport numpy", "numpy"),
        ("from mediaserver.ext.packet cimport Packet", "mediaserver.ext.packet"),
        ("    from libc.stdint cimport int16_t", "libc.stdint"),
        ("import mediaserver.sip", "mediaserver.sip"),
    ],
)
def test_imports_of_native_modules_are_seen(tmp_path: Path, line: str, module: str) -> None:
    path = tmp_path / "x.pyx"
    path.write_text(f"# a comment\n{line}\n")
    assert list(cython_imports(path)) == [(2, module)]


def test_every_package_is_packed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        packed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    folders = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "mediaserver").rglob("*.py")
        if not {"codecs", "ext", "config"} & set(path.relative_to(ROOT).parts)
    }
    assert packed == folders | {"mediaserver.codecs", "mediaserver.ext"}


def test_every_native_module_tells_python_its_types() -> None:
    for folder in ("codecs", "ext"):
        for path in (ROOT / folder).glob("*.pyx"):
            assert path.with_suffix(".pyi").exists(), f"{path.name} has no .pyi"


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False).stdout.decode()
    return [ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file()]


# Written apart, so that this file does not find itself.
MACHINE_PATHS = re.compile(rb"(?<![\w.])/(?:wo" + rb"rk|ro" + rb"ot|home/\w+|Users/\w+)/")


def test_no_file_carries_a_path_of_the_machine_it_was_written_on() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in tracked()
        if path.suffix not in (".wav", ".bin", ".ogg", ".opus", ".flac")
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert found == []


def test_decisions_are_numbered_once_each_without_a_gap() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert page.read_text().startswith(f"# {int(page.name[:4])}. "), page.name
