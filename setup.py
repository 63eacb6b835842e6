"""Native modules only; everything else is in pyproject.toml.

Every `codecs/*.pyx` and `ext/*.pyx` becomes `mediaserver.codecs.*` and `mediaserver.ext.*`. The two folders, and the
shipped files in `config/`, are reached through the relative links `mediaserver/codecs`, `mediaserver/ext` and
`mediaserver/config`; a checkout that lost them (an archive made without links, a Windows share) gets them back here.
"""

import fnmatch
import os
import subprocess
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOT = Path(__file__).resolve().parent
# pkg-config names a module needs beside libc: everything else links nothing.
SYSTEM_LIBRARIES = {
    "codecs/opus": ["opus"],
    "ext/sink": ["libcrypto"],
    "ext/srtp_cipher": ["libcrypto"],
}
COMPILE_ARGS = ["-O3", "-g0", "-Wno-unused-function"]
DEBUG = os.environ.get("MEDIASERVER_DEBUG_BUILD") == "1"  # bounds and None checks on, for the test run that wants them


def restore_links() -> None:
    for name in ("codecs", "config", "ext"):
        link = ROOT / "mediaserver" / name
        if link.is_symlink() or link.is_dir():
            continue
        if link.exists():  # git without symlink support writes a text file holding the target
            link.unlink()
        link.symlink_to(Path("..") / name, target_is_directory=True)


def pkg_config(kind: str, names: list[str]) -> list[str]:
    try:
        return subprocess.run(["pkg-config", kind, *names], check=True, capture_output=True, text=True).stdout.split()
    except (OSError, subprocess.CalledProcessError) as error:
        raise SystemExit(
            f"setup.py: pkg-config {kind} {' '.join(names)} failed ({error}); on Debian and Ubuntu: "
            "apt-get install pkg-config libopus-dev libssl-dev"
        ) from error


def extension(source: Path) -> Extension:
    stem = source.relative_to(ROOT).with_suffix("").as_posix()
    libraries = SYSTEM_LIBRARIES.get(stem, [])
    return Extension(
        "mediaserver." + stem.replace("/", "."),
        [source.relative_to(ROOT).as_posix()],
        extra_compile_args=[*COMPILE_ARGS, *(pkg_config("--cflags", libraries) if libraries else [])],
        extra_link_args=pkg_config("--libs", libraries) if libraries else ["-lm"],
    )


def native_modules() -> list[Extension]:
    # MEDIASERVER_MODULES="ext/jitter codecs/*" builds just those, for a quick turn while working on one of them.
    wanted = os.environ.get("MEDIASERVER_MODULES", "*").split()
    sources = sorted([*(ROOT / "codecs").glob("*.pyx"), *(ROOT / "ext").glob("*.pyx")])
    stems = {source: source.relative_to(ROOT).with_suffix("").as_posix() for source in sources}
    chosen = [s for s in sources if any(fnmatch.fnmatch(stems[s], pattern) for pattern in wanted)]
    return cythonize(
        [extension(source) for source in chosen],
        include_path=[str(ROOT)],
        nthreads=os.cpu_count() or 1,
        compiler_directives={
            "language_level": "3",
            "boundscheck": DEBUG,
            "wraparound": False,
            "cdivision": True,
            "initializedcheck": DEBUG,
            "embedsignature": True,
        },
    )


restore_links()
setup(ext_modules=native_modules())
