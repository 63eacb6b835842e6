"""Cisco's libsrtp2 through ctypes: the oracle that our SRTP is held to. Follows srtp2/srtp.h of version 2.5."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, byref, c_char, c_int, c_uint, c_ulong, c_void_p
from ctypes.util import find_library

_ANY_INBOUND, _ANY_OUTBOUND = 2, 3
_SUITES = (  # in the order of model.SrtpProfile: of RTP, of RTCP
    ("rtp_default", "rtcp_default"),
    ("aes_cm_128_hmac_sha1_32", "rtcp_default"),
    ("aes_cm_256_hmac_sha1_80", "aes_cm_256_hmac_sha1_80"),
    ("aes_cm_256_hmac_sha1_32", "aes_cm_256_hmac_sha1_80"),
    ("aes_gcm_128_16_auth", "aes_gcm_128_16_auth"),
    ("aes_gcm_256_16_auth", "aes_gcm_256_16_auth"),
)


class _CryptoPolicy(Structure):
    _fields_ = (
        ("cipher_type", c_uint),
        ("cipher_key_len", c_int),
        ("auth_type", c_uint),
        ("auth_key_len", c_int),
        ("auth_tag_len", c_int),
        ("sec_serv", c_int),
    )


class _Policy(Structure):
    _fields_ = (
        ("ssrc_type", c_int),
        ("ssrc_value", c_uint),
        ("rtp", _CryptoPolicy),
        ("rtcp", _CryptoPolicy),
        ("key", c_void_p),
        ("keys", c_void_p),
        ("num_master_keys", c_ulong),
        ("deprecated_ekt", c_void_p),
        ("window_size", c_ulong),
        ("allow_repeat_tx", c_int),
        ("enc_xtn_hdr", c_void_p),
        ("enc_xtn_hdr_count", c_int),
        ("next", c_void_p),
    )


def _load() -> ctypes.CDLL:
    name = find_library("srtp2")
    if name is None:
        raise RuntimeError("libsrtp2 is not installed: apt-get install libsrtp2-1")
    library = ctypes.CDLL(name)
    if library.srtp_init() != 0:
        raise RuntimeError("libsrtp2 failed its self-test")
    return library


class LibSrtp:
    """One direction of one key, as ext/srtp_harness.SessionForTest."""

    _library: ctypes.CDLL | None = None

    def __init__(self, suite: int, key_and_salt: bytes, outbound: bool) -> None:
        if LibSrtp._library is None:
            LibSrtp._library = _load()
        library = self._c = LibSrtp._library
        policy = _Policy()
        for kind, name in zip((policy.rtp, policy.rtcp), _SUITES[suite], strict=True):
            setter = "set_rtp_default" if name.endswith("_default") else f"set_{name}"
            getattr(library, f"srtp_crypto_policy_{setter}")(byref(kind))
        self._key = ctypes.create_string_buffer(key_and_salt, len(key_and_salt))
        policy.ssrc_type = _ANY_OUTBOUND if outbound else _ANY_INBOUND
        policy.key = ctypes.cast(self._key, c_void_p)
        policy.window_size = 1024
        self._outbound = outbound
        self._session = c_void_p()
        status = library.srtp_create(byref(self._session), byref(policy))
        if status != 0:
            raise RuntimeError(f"srtp_create said {status}")

    def step(self, data: bytes, control: bool) -> tuple[int, bytes]:
        """(libsrtp's status, 0: done; result)."""
        room = ctypes.create_string_buffer(data, len(data) + 200)
        size = c_int(len(data))
        name = ("srtp_protect" if self._outbound else "srtp_unprotect") + ("_rtcp" if control else "")
        function = getattr(self._c, name)
        function.argtypes = (c_void_p, POINTER(c_char), POINTER(c_int))
        status = function(self._session, room, byref(size))
        return int(status), room.raw[: size.value]

    def close(self) -> None:
        self._c.srtp_dealloc.argtypes = (c_void_p,)
        self._c.srtp_dealloc(self._session)
