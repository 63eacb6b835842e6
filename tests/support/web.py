"""The sources of the pages: their packages as the lockfile has them, and their build into a folder."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
WEB = ROOT / "web"
MODULES = WEB / "node_modules"


def packages_are_those_of_the_lockfile() -> bool:
    """npm keeps a copy of what it installed; packages of other systems' processors stand only in the lockfile."""
    try:
        installed = json.loads((MODULES / ".package-lock.json").read_text())["packages"]
    except (OSError, ValueError):
        return False
    wanted = json.loads((WEB / "package-lock.json").read_text())["packages"]
    return all(
        installed.get(name, {}).get("integrity") == about["integrity"]
        for name, about in wanted.items()
        if name and not about.get("optional")
    )


def install_packages() -> None:
    """Nothing to do, as a rule: `./run` installed them. Scripts of packages are not run."""
    if not packages_are_those_of_the_lockfile():
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=WEB, check=True)


def build_pages(folder: Path) -> None:
    install_packages()
    subprocess.run(["node", "build.mjs", str(folder)], cwd=WEB, check=True)
