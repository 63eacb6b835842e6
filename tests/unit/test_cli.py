"""The `mediaserver` command as people and programs use it."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pydantic import SecretStr
from typer.testing import CliRunner

from mediaserver import __version__, cli_http
from mediaserver.api.metrics import Metrics
from mediaserver.api.server import HttpServer
from mediaserver.bootstrap import ensure_certificate, with_certificates
from mediaserver.cli import app
from mediaserver.cli_common import CommandFailed, Exit, show
from mediaserver.settings import HttpSettings, Settings
from tests.support.sealed import SIGNER, sign, write_sealed
from tests.support.synthetic_taps import T0_NS, rtp
from tests.unit.api.fake_facade import FakeFacade

PORT = 35_444


@pytest.fixture
def mediaserver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Runs a command in an empty folder with a configuration; gives exit code, standard output and standard error."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mediaserver.toml").write_text(
        f'[server]\ndata_dir = "."\n[http]\nport = {PORT}\nadmin_password = "pw"\n'
    )
    runner = CliRunner()

    def run(*words: str, stdin: str | None = None) -> tuple[int, str, str]:
        result = runner.invoke(app, list(words), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    yield run


def test_version_is_json_for_programs(mediaserver: Any) -> None:
    code, out, _ = mediaserver("version", "--json")
    assert (code, json.loads(out)["version"]) == (Exit.OK, __version__)


def test_help_teaches_with_examples_and_exit_codes(mediaserver: Any) -> None:
    assert "4 no answer" in " ".join(mediaserver("--help")[1].split())
    assert "--password-stdin" in mediaserver("users", "add", "--help")[1]


def test_users_are_added_listed_changed_and_removed(mediaserver: Any) -> None:
    assert mediaserver("users", "add", "102", "--password", "first-word")[0] == Exit.OK
    assert mediaserver("users", "add", "alice", "--password-stdin", "--language", "ru", stdin="word\n")[0] == Exit.OK
    code, out, _ = mediaserver("users", "list", "--json")
    assert [(user["name"], user["language"]) for user in json.loads(out)] == [("102", ""), ("alice", "ru")]
    assert "first-word" not in out
    code, _, err = mediaserver("users", "add", "102", "--password", "other-word")
    assert code == Exit.FAILED
    assert "--update" in err
    assert mediaserver("users", "add", "102", "--password", "other-word", "--update")[0] == Exit.OK
    assert mediaserver("users", "remove", "102")[0] == Exit.OK
    code, _, err = mediaserver("users", "remove", "102")
    assert (code, "there is no user 102" in err) == (Exit.FAILED, True)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("users", "add", "a b", "--password", "long enough"), "user name 'a b'"),
        (("users", "add", "102", "--password", "abc"), "at least 4"),
        (("users", "add", "102"), "--password-stdin"),
        (("users", "add", "=1+1", "--password", "long enough"), "like a spreadsheet's formula"),
        (("users", "add", "+1+cmd", "--password", "long enough"), "write a number as +4930123456"),
        (("users", "add", "--password", "long enough", "--", "-1"), "begin with a letter, a digit or _"),
        (("users", "add", "a\x07", "--password", "long enough"), "user name 'a\\x07'"),
        (("users", "add", "a\u202eb", "--password", "long enough"), "user name 'a\\u202eb'"),
        (("reviewers", "add", "=1+1", "--password", "long enough word"), "like a spreadsheet's formula"),
        (("reviewers", "add", "kate", "--password", "short"), "at least 10"),
    ],
)
def test_a_wrong_user_is_refused_with_what_is_allowed(mediaserver: Any, words: tuple[str, ...], told: str) -> None:
    code, _, err = mediaserver(*words)
    assert code == Exit.USAGE
    assert told in err


def test_a_telephone_number_is_a_users_name(mediaserver: Any) -> None:
    assert mediaserver("users", "add", "+4930123456", "--password", "long enough")[0] == Exit.OK


def test_users_of_another_realm_are_pointed_out(mediaserver: Any, tmp_path: Path) -> None:
    mediaserver("users", "add", "102", "--password", "word")
    text = (tmp_path / "mediaserver.toml").read_text().replace("[server]", '[server]\nrealm = "elsewhere"')
    (tmp_path / "mediaserver.toml").write_text(text)
    code, _, err = mediaserver("users", "list")
    assert code == Exit.OK
    assert "102: password was set for another realm than elsewhere" in err


def test_a_wrong_configuration_ends_every_command_with_its_place(mediaserver: Any, tmp_path: Path) -> None:
    (tmp_path / "mediaserver.toml").write_text("[sip]\nudp_prt = 1\n")
    for words in (("check-config",), ("run",), ("users", "list"), ("calls", "list"), ("recordings", "list")):
        code, _, err = mediaserver(*words)
        assert code == Exit.CONFIG
        assert "mediaserver.toml:2: there is no setting sip.udp_prt; did you mean udp_port?" in err


def test_check_config_says_when_all_is_well_and_hides_the_password(mediaserver: Any) -> None:
    assert "settings are fine" in mediaserver("check-config")[1]
    _, out, _ = mediaserver("check-config", "--json")
    assert json.loads(out)["http"]["port"] == PORT
    assert '"pw"' not in out


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ('trunk = "carrier"', "routing.toml:4: trunk: no [trunks.carrier] in the configuration"),
        ('program = "nonexist"', "routing.toml:4: program: 'nonexist' is neither shipped nor in routing.programs_dir"),
    ],
)
def test_check_config_refuses_a_rule_that_leads_nowhere(
    mediaserver: Any, tmp_path: Path, target: str, told: str
) -> None:
    (tmp_path / "routing.toml").write_text(f'[[route]]\nname = "out"\nnumber = "9*"\n{target}\n')
    for words in (("check-config",), ("check-config", "--json")):
        code, _, err = mediaserver(*words)
        assert code == Exit.CONFIG
        assert told in err


def test_a_country_without_tones_is_refused_with_those_that_have(mediaserver: Any, tmp_path: Path) -> None:
    (tmp_path / "mediaserver.toml").write_text('[media]\ntones = "xx"\n')
    code, _, err = mediaserver("check-config")
    assert code == Exit.CONFIG
    assert 'mediaserver.toml:2: media.tones is "xx"; allowed: ' in err


def test_without_a_server_calls_say_how_to_start_it(mediaserver: Any, tmp_path: Path) -> None:
    code, _, err = mediaserver("calls", "list")
    assert (code, "certificate.pem cannot be read" in err) == (Exit.UNREACHABLE, True)
    ensure_certificate(tmp_path)
    code, _, err = mediaserver("calls", "list")
    assert (code, "start it with: mediaserver run" in err) == (Exit.UNREACHABLE, True)


def test_what_is_copied_from_a_table_is_never_broken_over_two_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    name = "20261128-065901-0123456789abcdef0123456789"
    row = {"id": name, "started": "2026-11-28 06:59:01", "caller": "+442071838750", "called": "+74951234567"}
    row |= {"state": "partly consented", "length": "1:35", "storage": "here"}
    show([row], {key: key.title() for key in row}, as_json=False, whole=("id",))
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "Id",
        "  Started             Caller        Called       State            Length Storage",
        name,
        "  2026-11-28 06:59:01 +442071838750 +74951234567 partly consented 1:35   here",
    ]
    monkeypatch.setenv("COLUMNS", "140")
    show([row], {key: key.title() for key in row}, as_json=False, whole=("id",))
    assert [len(line.split("  ")) > 3 for line in capsys.readouterr().out.splitlines()] == [True, True]


def test_a_piped_password_that_nobody_reads_names_the_option(mediaserver: Any) -> None:
    code, _, err = mediaserver("reviewers", "add", "kate", stdin="a-long-password\na-long-password\n")
    assert code == Exit.USAGE
    assert "--password-stdin" in err
    assert mediaserver("reviewers", "add", "kate", "--password-stdin", stdin="a-long-password\n")[0] == Exit.OK
    assert (
        mediaserver("reviewers", "add", "quin", "--password", "a-long-password", "--role", "supervisor")[0] == Exit.OK
    )


def test_a_reviewer_of_the_issuer_gets_no_password(mediaserver: Any) -> None:
    add = ("reviewers", "add", "olga@example.org", "--oidc")
    assert mediaserver(*add, "--password", "a-long-password")[0] == Exit.USAGE
    assert mediaserver(*add)[0] == Exit.OK
    code, out, _ = mediaserver("reviewers", "list", "--json")
    assert (code, [(one["name"], one["by"]) for one in json.loads(out)]) == (Exit.OK, [("olga@example.org", "issuer")])


def test_no_recordings_is_no_error(mediaserver: Any) -> None:
    code, out, _ = mediaserver("recordings", "list")
    assert (code, "dial 602" in out) == (Exit.OK, True)
    code, _, err = mediaserver("recordings", "export", "r1", "--format", "wav", "--output", "x.wav")
    assert (code, "there is no recording r1" in err) == (Exit.FAILED, True)


def test_init_makes_everything_once(mediaserver: Any, tmp_path: Path) -> None:
    code, out, _ = mediaserver("init", "--config", "var/mediaserver.toml")
    assert code == Exit.OK
    kept = (tmp_path / "var/first-call.txt").read_text()
    passwords = [line.split()[-1] for line in kept.splitlines() if "password" in line and len(line.split()[-1]) == 10]
    assert len(passwords) == 3  # of admin and the two demo users
    assert "first-call.txt" in out
    assert not [word for word in passwords if word in out], "what is written into a file or a log is no secret"
    assert mediaserver("init", "--config", "var/mediaserver.toml")[0] == Exit.FAILED


async def asked(settings: Settings, method: str, path: str) -> Any:
    return await asyncio.to_thread(cli_http.request, settings, method, path)


async def test_the_running_server_is_asked_by_its_own_certificate_and_password(tmp_path: Path) -> None:
    http = HttpSettings(host="127.0.0.1", port=PORT, metrics_port=0, admin_password=SecretStr("pw"))
    server = Settings().server.model_copy(update={"data_dir": tmp_path / "server"})
    settings = with_certificates(Settings(server=server, http=http))
    facade = FakeFacade()
    listener = HttpServer(settings, facade, Metrics())
    await listener.start()
    try:
        assert (await asked(settings, "GET", "/api/v1/calls"))["calls"][0]["id"] == "c1"
        await asked(settings, "POST", "/api/v1/calls/c1/hangup")
        assert facade.ended == ["c1"]
        with pytest.raises(CommandFailed, match="there is no call c2"):
            await asked(settings, "GET", "/api/v1/calls/c2")

        wrong = settings.model_copy(
            update={"http": settings.http.model_copy(update={"admin_password": SecretStr("x")})}
        )
        with pytest.raises(CommandFailed, match="is not the running server's"):
            await asked(wrong, "GET", "/api/v1/calls")

        other, _ = ensure_certificate(tmp_path / "other")
        stranger = settings.model_copy(update={"http": settings.http.model_copy(update={"certificate": other})})
        with pytest.raises(CommandFailed, match="another certificate") as caught:
            await asked(stranger, "GET", "/api/v1/calls")
        assert caught.value.code is Exit.UNREACHABLE
    finally:
        await listener.stop()


def test_a_recording_is_proven_from_its_folder_and_the_public_key_alone(mediaserver: Any, tmp_path: Path) -> None:
    public = tmp_path / "public.pem"
    public.write_bytes(SIGNER.public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    folder = tmp_path / "r1"
    folder.mkdir()
    file = write_sealed(folder, [(T0_NS, rtp(1, 160, b"x"))], closed_ns=T0_NS + 1)
    words = ("recordings", "verify", str(folder), "--public-key", str(public))
    assert mediaserver(*words)[0] == 5  # nobody has signed yet
    sign(folder, file)
    code, out, _ = mediaserver(*words)
    assert (code, out.splitlines()[-1]) == (0, "proven: every byte is as it was signed")
    (folder / "1.journal").write_bytes((folder / "1.journal").read_bytes()[:-1])
    code, out, err = mediaserver(*words)
    assert (code, out.splitlines()[-1]) == (1, "NOT as it was signed")
    assert "1.journal: the last 1 segments are missing" in err
    assert mediaserver("recordings", "verify", "../../etc")[0] == 1


def test_rewrapping_nothing_says_so(mediaserver: Any) -> None:
    code, out, _ = mediaserver("recordings", "rewrap")
    assert (code, out.split(" keys")[0]) == (0, "0")


def test_a_consent_policy_that_does_not_exist_is_found_before_the_server_starts(
    mediaserver: Any, tmp_path: Path
) -> None:
    (tmp_path / "routing.toml").write_text('[[route]]\nname="a"\nnumber="1"\nprogram="echo"\nconsent="hope"\n')
    code, _, err = mediaserver("check-config")
    assert (code, "rule a: consent: no policy 'hope'; known: announce" in err) == (Exit.CONFIG, True)
    (tmp_path / "routing.toml").unlink()
    with (tmp_path / "mediaserver.toml").open("a") as file:
        file.write('[recording]\nconsent_profiles = ["mars"]\n')
    code, _, err = mediaserver("check-config")
    assert (code, "there is no file mars.toml" in err) == (Exit.CONFIG, True)


def test_the_demo_calls_through_no_other_machine_unless_told(mediaserver: Any) -> None:
    code, _, error = mediaserver("demo", "--server", "192.0.2.7:5060")
    assert (code, "192.0.2.7 is not this machine" in error) == (Exit.USAGE, True)
    code, _, error = mediaserver("demo", "--server", "127.0.0.1")
    assert (code, "HOST:PORT" in error) == (Exit.USAGE, True)


def test_the_demo_says_which_rules_a_server_lacks_before_it_calls(mediaserver: Any) -> None:
    code, _, error = mediaserver("demo", "--server", "127.0.0.1:9", "--config", "mediaserver.toml")
    assert (code, "demo-sales" in error, "--routes" in error) == (Exit.CONFIG, True, True)
    code, out, _ = mediaserver("demo", "--routes")
    assert code == 0
    assert 'name = "demo-sales"' in out
