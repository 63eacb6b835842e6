"""How each file of the bundle is to be served."""

import gzip
from pathlib import Path

import pytest

from mediaserver.errors import ConfigError
from mediaserver.web.assets import load


def folder_of(path: Path, **files: str) -> Path:
    (path / "assets").mkdir()
    for name, text in files.items():
        (path / name.replace("__", "/").replace("_", ".")).write_text(text)
    return path


def test_the_desk_is_the_front_page_and_every_other_page_has_its_name(tmp_path: Path) -> None:
    assets = load(folder_of(tmp_path, desk_html="d", phone_html="p", licences_txt="l", assets__phone_js="j"))
    assert set(assets) == {"/", "/phone", "/licences.txt", "/assets/phone.js"}
    assert assets["/"].body == b"d"


def test_a_page_is_asked_for_each_time_and_what_its_name_seals_is_kept(tmp_path: Path) -> None:
    assets = load(folder_of(tmp_path, desk_html="d", assets__desk_css="c"))
    assert assets["/"].cache_control == "no-cache"
    assert "immutable" in assets["/assets/desk.css"].cache_control


def test_the_compressed_form_is_the_same_text_and_the_same_each_time(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, desk_html="text " * 500)
    first, second = load(folder)["/"], load.__wrapped__(folder)["/"]
    assert gzip.decompress(first.gzipped) == first.body
    assert first == second
    assert len(first.gzipped) < len(first.body) / 10


def test_a_folder_without_pages_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="install the package again"):
        load(tmp_path)


def test_a_file_of_unknown_kind_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="ending that no page uses"):
        load(folder_of(tmp_path, desk_html="d", assets__x_exe="e"))
