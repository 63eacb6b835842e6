"""The configuration loader: what is right is read, what is wrong is refused with place, value, allowed and advice."""

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import SecretStr

from mediaserver.errors import ConfigError
from mediaserver.settings import SHIPPED_CONFIG_DIR, Settings, TrunkSettings
from mediaserver.settings_file import key_lines, load

DOCUMENT = SHIPPED_CONFIG_DIR / "mediaserver.toml"


def write(folder: Path, text: str) -> Path:
    path = folder / "server.toml"
    path.write_text(text, encoding="utf-8")
    return path


def refusal(folder: Path, text: str, environ: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text), environ or {})
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def test_no_file_and_no_environment_give_the_defaults() -> None:
    assert load(None, {}) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "[sip]\nudp_port = 5070\ntcp_port = 5071\n")
    settings = load(path, {"MEDIASERVER_SIP__UDP_PORT": "5080"})
    assert (settings.sip.udp_port, settings.sip.tcp_port) == (5080, 5071)


def test_the_environment_can_define_a_whole_trunk() -> None:
    settings = load(
        None,
        {
            "MEDIASERVER_TRUNKS__CARRIER__URI": "sip:192.0.2.1",
            "MEDIASERVER_TRUNKS__CARRIER__ALLOW_FROM": "192.0.2.0/24, 198.51.100.7",
            "MEDIASERVER_TRUNKS__CARRIER__CODECS": '["PCMA"]',
        },
    )
    trunk = settings.trunks["carrier"]
    assert trunk == TrunkSettings(uri="sip:192.0.2.1", allow_from=["192.0.2.0/24", "198.51.100.7"], codecs=["PCMA"])


def test_paths_in_the_file_start_at_its_folder_and_an_empty_one_means_unset(tmp_path: Path) -> None:
    settings = load(write(tmp_path, '[server]\ndata_dir = "data"\n[recording]\ndirectory = ""\n'), {})
    assert settings.server.data_dir == tmp_path / "data"
    assert settings.recording.directory is None


def test_every_wrong_key_is_told_at_once_in_reading_order(tmp_path: Path) -> None:
    lines = refusal(
        tmp_path,
        '[media]\nport_range = "30000-30001"\nworkers = 99\n\n[sip]\nmax_calls = 250\nudp_prt = 1\n',
        {"MEDIASERVER_LOG__LEVEL": "loud"},
    )
    assert lines == [
        "server.toml:2: media.port_range is 30000-30001; sip.max_calls = 250 needs 1000 ports (two legs a call, two "
        "ports a leg), here are 2; try 30000-30999",
        "server.toml:3: media.workers is 99; allowed: 1 to 64; try 64",
        "server.toml:7: there is no setting sip.udp_prt; did you mean udp_port?",
        "environment MEDIASERVER_LOG__LEVEL: log.level is \"loud\"; allowed: 'debug', 'info', 'warning' or 'error'",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[sip]\nudp_port = 70000\n", "server.toml:2: sip.udp_port is 70000; allowed: 0 to 65535; try 65535"),
        ('[sip]\nmax_calls = "many"\n', 'server.toml:2: sip.max_calls is "many"; it must be a whole number, 1 or more'),
        ("[sip]\nmax_calls = 0\n", "server.toml:2: sip.max_calls is 0; allowed: 1 or more; try 1"),
        ("[media]\nrealtime = 7\n", "server.toml:2: media.realtime is 7; allowed: true or false"),
        ("[media]\ncodecs = 7\n", 'server.toml:2: media.codecs is 7; it must be a list: ["a", "b"]'),
        ("[server]\nrealm = 7\n", "server.toml:2: server.realm is 7; it must be text in double quotes"),
        ("[sib]\n", "server.toml:1: there is no section [sib]; did you mean sip?"),
        (
            "[sip]\nport_range = 1\n",
            "server.toml:2: there is no setting sip.port_range; did you mean port_range in [media]?",
        ),
        ("sip = 5\n", "server.toml:1: sip is 5; it must be a section: [sip] with lines of its own"),
        ("[trunks.x]\nusername='a'\n", "server.toml:1: trunks.x.uri is missing; it has no default; add a line uri = …"),
        ("[trunks.x]\nuri='host'\n", 'server.toml:2: trunks.x.uri is "host"; it must be sip:HOST; try "sip:host"'),
        ("[media]\nptime_ms = 25\n", "server.toml:2: media.ptime_ms is 25; allowed: 10, 20, 30, 40, 50, 60; try 20"),
        (
            '[media]\nport_range = "20001-29998"\n',
            "server.toml:2: media.port_range is 20001-29998; RTP takes even ports and RTCP the odd one above: start "
            "even, end odd; try 20002-29997",
        ),
        (
            '[media]\nport_range = "9-5"\n',
            "server.toml:2: media.port_range is 9-5; allowed: LOW-HIGH between 1024 and 65535, low first; "
            "try 20000-29999",
        ),
        (
            "[media]\ncodecs = ['pcmu']\n",
            "server.toml:2: media.codecs names pcmu; allowed: PCMU, PCMA, G722, opus, L16 (spelled so)",
        ),
        (
            "[media]\njitter_min_ms = 400\njitter_max_ms = 100\n",
            "server.toml:2: media.jitter_min_ms is 400; it may not be above media.jitter_max_ms, which is 100; try 100",
        ),
        (
            "[http]\nport = 5061\n",
            "server.toml:2: http.port is 5061; sip.tls_port has it already; give each its own, or 0 for none",
        ),
        (
            "[sip]\nudp_port = 20100\n",
            "server.toml:2: sip.udp_port is 20100; it lies in media.port_range 20000-29999; move one of them",
        ),
        (
            "[http]\ncertificate = 'none.pem'\nprivate_key = 'server.toml'\n",
            "server.toml:2: http.certificate is none.pem; that file does not exist; name a PEM file this user can read",
        ),
        (
            "[s3]\nbucket = 'b-1'\nendpoint = 'http://minio.example:9000'\n",
            "server.toml:3: s3.endpoint has no TLS: who listens sees which recordings there are and when they are "
            "played; try https://, or allow_http = true",
        ),
        (
            "[events]\nwebhook_url = 'https://crm.example/hook'\n",
            "server.toml:1: events.webhook_secret is not set, so anybody could post events in our name; try the output "
            "of: openssl rand -hex 32",
        ),
        (
            "[s3]\nbucket = 'b-1'\nsecret_access_key = 'secret'\n",
            "server.toml:1: s3.access_key_id is not set, but the other half of the key is; give both, or neither: then "
            "they are looked for where Amazon's own tools look (environment, role of the machine)",
        ),
        (
            "[store]\nurl = 'mysql://u:secret@h/d'\n",
            "server.toml:2: store.url begins with mysql:; allowed: sqlite+aiosqlite:, postgresql+asyncpg: or empty for "
            "SQLite in data_dir",
        ),
    ],
)
def test_each_refusal_says_what_was_allowed_and_what_to_try(tmp_path: Path, text: str, expected: str) -> None:
    assert refusal(tmp_path, text) == [expected]


def test_a_certificate_needs_its_private_key(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "[sip]\ncertificate = 'server.toml'\n")
    assert line.startswith("server.toml:1: sip.private_key is not set, but sip.certificate is; TLS needs both")


def test_a_text_that_is_not_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    (line,) = refusal(tmp_path, "[sip]\nudp_port 5060\n")
    assert line.startswith("server.toml:2: not TOML: ")


def test_a_missing_file_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file or directory.*--config FILE"):
        load(tmp_path / "nowhere.toml", {})


def test_a_variable_with_one_underscore_gets_a_hint_and_foreign_ones_are_left_alone() -> None:
    foreign = {"MEDIASERVER_SERVICE_HOST": "10.0.0.1", "MEDIASERVER_MODULES": "x"}
    assert load(None, foreign) == Settings()
    with pytest.raises(ConfigError, match="did you mean MEDIASERVER_HTTP__PORT"):
        load(None, {"MEDIASERVER_HTTP_PORT": "1"})


def test_no_secret_is_ever_printed(tmp_path: Path) -> None:
    secret = "correct horse"
    settings = load(write(tmp_path, f'[http]\nadmin_password = "{secret}"\n'), {})
    assert settings.http.admin_password.get_secret_value() == secret
    assert secret not in repr(settings) + str(settings) + settings.model_dump_json()
    assert secret not in "".join(refusal(tmp_path, f'[http]\nadmin_password = ["{secret}"]\n'))


def test_lines_of_keys_are_found_through_dots_quotes_and_long_strings() -> None:
    text = 'a.b = 1\n[x."y"]\ns = """\nfake = 1\n"""\n"q r" = 2  # c\n[[z]]\n'
    tomllib.loads(text)
    assert list(key_lines(text)) == [
        (("a", "b"), 1),
        (("x", "y"), 2),
        (("x", "y", "s"), 3),
        (("x", "y", "q r"), 6),
        (("z",), 7),
    ]


def documented() -> dict[str, object]:
    """config/mediaserver.toml with every default switched on."""
    lines = [re.sub(r"^# (?=[a-z_]+ = |\[)", "", line) for line in DOCUMENT.read_text(encoding="utf-8").splitlines()]
    return tomllib.loads("\n".join(lines))


def plain(value: object) -> object:
    """A default as the document writes it."""
    if value is None:
        return ""
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value) if isinstance(value, Path) else value


def test_the_shipped_file_changes_nothing(tmp_path: Path) -> None:
    assert load(write(tmp_path, DOCUMENT.read_text(encoding="utf-8")), {}) == Settings()


def test_routing_beside_the_configuration_is_found_unless_another_is_named(tmp_path: Path) -> None:
    (tmp_path / "routing.toml").touch()
    assert load(write(tmp_path, ""), {}).routing.file == tmp_path / "routing.toml"
    other = tmp_path / "other.toml"
    other.touch()
    assert load(write(tmp_path, f'[routing]\nfile = "{other.name}"\n'), {}).routing.file == other


def test_the_shipped_file_documents_every_setting_with_its_true_default_and_no_other() -> None:
    defaults: dict[str, object] = {
        section: {key: plain(value) for key, value in getattr(Settings(), section)}
        for section in Settings.model_fields
        if section != "trunks"
    }
    example = TrunkSettings(uri="sip:pbx.example.com")
    defaults["trunks"] = {"example": {key: plain(value) for key, value in example}}
    assert documented() == defaults


def test_every_documented_setting_has_words_above_it() -> None:
    blocks = DOCUMENT.read_text(encoding="utf-8").split("\n\n")
    for block in blocks:
        lines = block.splitlines()
        first = next((i for i, line in enumerate(lines) if re.match(r"# [a-z_]+ = ", line)), None)
        if first is not None:
            words = [line for line in lines[:first] if line.startswith("# ") and not line.startswith("# [")]
            assert len(" ".join(words)) > 30, f"says too little: {block}"
