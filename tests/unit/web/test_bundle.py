"""The bundle in the tree is what `web/` builds, holds nothing foreign, and stays small."""

import gzip
import json
import re
import subprocess
from pathlib import Path

import pytest

from mediaserver.web.assets import STATIC
from tests.support.web import WEB, build_pages, install_packages

SCRIPT_GZIP_BYTES_MAX = 200_000  # of one page: what a first visit over a slow mobile network can bear


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_bundle_in_the_tree_is_what_its_sources_build(tmp_path: Path) -> None:
    build_pages(tmp_path / "static")
    built, kept = content(tmp_path / "static"), content(STATIC)
    changed = sorted(name for name in built.keys() | kept.keys() if built.get(name) != kept.get(name))
    assert not changed, f"run `npm run build` in web/ and commit the result; these differ: {changed}"


def test_what_the_pages_compute_holds_its_own_tests() -> None:
    install_packages()
    done = subprocess.run(["npm", "test", "--silent"], cwd=WEB, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert re.search(r"^# pass [1-9]", done.stdout, re.MULTILINE), done.stdout[-500:]


@pytest.mark.parametrize("page", sorted(STATIC.glob("*.html")), ids=lambda page: page.stem)
def test_a_page_takes_all_it_needs_from_this_server_and_checks_it(page: Path) -> None:
    html = page.read_text(encoding="utf-8")
    assert not re.search(r"<script>|<style| on[a-z]+=| style=|https?://", html)
    for tag in re.findall(r"<(?:script|link)[^>]*>", html):
        assert re.search(r'(?:src|href)="/assets/[\w.-]+"', tag), tag
        assert 'rel="icon"' in tag or 'integrity="sha384-' in tag, tag


@pytest.mark.parametrize("script", sorted(STATIC.glob("assets/*.js")), ids=lambda script: script.name.split("-")[0])
def test_a_script_is_small_and_evaluates_no_text(script: Path) -> None:
    body = script.read_bytes()
    assert len(gzip.compress(body)) <= SCRIPT_GZIP_BYTES_MAX
    assert not re.search(rb"\beval\(|new Function\(", body)


def test_every_version_is_exact_and_every_package_is_sealed_by_its_hash() -> None:
    wanted = json.loads((WEB / "package.json").read_text())
    for name, version in {**wanted["dependencies"], **wanted["devDependencies"]}.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", version), f"{name} {version}"
    locked = json.loads((WEB / "package-lock.json").read_text())["packages"]
    for name, about in locked.items():
        if name:
            assert about.get("resolved", "https://registry.npmjs.org/").startswith("https://registry.npmjs.org/"), name
            assert about["integrity"].startswith("sha512-"), name
