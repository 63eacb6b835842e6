"""The first start: what is made, who can read it, and that nothing is made twice."""

import datetime
import ipaddress
import os
import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from mediaserver import bootstrap
from mediaserver.settings import HttpSettings, Settings, SipSettings
from mediaserver.settings_file import load


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_configuration_has_its_own_password_and_keeps_data_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "var" / "mediaserver.toml"
    password = bootstrap.write_first_configuration(path)
    settings = load(path, {})
    assert settings.http.admin_password.get_secret_value() == password
    assert settings.server.data_dir == path.parent
    assert (mode(path), mode(path.parent)) == (0o600, 0o700)


def test_an_existing_configuration_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "mediaserver.toml"
    path.write_text("# mine\n")
    with pytest.raises(FileExistsError, match="exists already"):
        bootstrap.write_first_configuration(path)
    assert path.read_text() == "# mine\n"


def test_a_private_file_is_never_readable_by_others_even_with_an_open_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        bootstrap.write_private(tmp_path / "secret", b"x")
    finally:
        os.umask(before)
    assert mode(tmp_path / "secret") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_passwords_differ_and_can_be_typed_on_a_phone() -> None:
    passwords = {bootstrap.new_password() for _ in range(100)}
    assert len(passwords) == 100
    assert all(len(word) == 10 and not set(word) & set("lo01") for word in passwords)


def test_the_certificate_is_ecdsa_for_this_machine_and_serves_tls(tmp_path: Path) -> None:
    certificate, key = bootstrap.ensure_certificate(tmp_path)
    loaded = x509.load_pem_x509_certificate(certificate.read_bytes())
    names = loaded.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert isinstance(loaded.public_key(), ec.EllipticCurvePublicKey)
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert ipaddress.ip_address("127.0.0.1") in names.get_values_for_type(x509.IPAddress)
    assert mode(key) == 0o600
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key)


def test_a_certificate_is_made_once_and_renewed_before_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, _ = bootstrap.ensure_certificate(tmp_path)
    first = certificate.read_bytes()
    bootstrap.ensure_certificate(tmp_path)
    assert certificate.read_bytes() == first
    monkeypatch.setattr(bootstrap, "RENEW_BEFORE_DAYS", bootstrap.CERTIFICATE_DAYS + 1)
    bootstrap.ensure_certificate(tmp_path)
    assert certificate.read_bytes() != first
    assert x509.load_pem_x509_certificate(first).not_valid_after_utc > datetime.datetime.now(datetime.UTC)


def test_a_configured_certificate_is_left_alone_and_the_other_one_made(tmp_path: Path) -> None:
    own = tmp_path / "own.pem"
    settings = Settings(
        server=Settings().server.model_copy(update={"data_dir": tmp_path}),
        http=HttpSettings(certificate=own, private_key=own),
    )
    completed = bootstrap.with_certificates(settings)
    assert completed.http.certificate == own
    assert completed.sip.certificate == tmp_path / "certificate.pem"


def test_the_welcome_says_where_and_what_to_dial_and_hides_passwords_later(tmp_path: Path) -> None:
    settings = Settings(
        server=Settings().server.model_copy(update={"data_dir": tmp_path}),
        sip=SipSettings(host="192.0.2.9", tls_port=0),
    )
    first = bootstrap.FirstCall(settings, tmp_path / "x.toml", {"100": "abcdef"}).text()
    for part in (
        "192.0.2.9: UDP 5060, TCP 5060",
        "600",
        "601",
        "602",
        "700",
        "password abcdef",
        "https://192.0.2.9:8443/",
        "https://192.0.2.9:8443/phone",
        "browser warns once",
    ):
        assert part in first
    assert "TLS" not in first
    (tmp_path / bootstrap.FIRST_CALL_NAME).write_text("kept")
    later = bootstrap.FirstCall(settings, tmp_path / "x.toml", {}).text()
    assert "abcdef" not in later
    assert f"passwords in {tmp_path / bootstrap.FIRST_CALL_NAME}" in later


def test_addresses_of_this_machine_are_addresses() -> None:
    assert all(ipaddress.ip_address(text) for text in bootstrap.machine_addresses())
