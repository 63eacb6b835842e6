"""SRTP and SRTCP written down from RFC 3711 and RFC 7714, slow and obvious: what native sessions are held against."""

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

LABEL_RTP, LABEL_RTCP = 0, 3  # encryption key; + 1 authentication key; + 2 salt (RFC 3711 §4.3.1)


def keystream(key: bytes, iv: bytes, size: int) -> bytes:
    return Cipher(algorithms.AES(key), modes.CTR(iv)).encryptor().update(bytes(size))


def derive(master_key: bytes, master_salt: bytes, label: int, size: int) -> bytes:
    """RFC 3711 §4.3.1 with a key derivation rate of 0; a 96-bit salt is filled up with zeros (RFC 7714 §11)."""
    x = int.from_bytes(master_salt.ljust(14, b"\0"), "big") ^ (label << 48)
    return keystream(master_key, (x << 16).to_bytes(16, "big"), size)


def xor(a: bytes, b: bytes) -> bytes:
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def gcm_rtp(key: bytes, salt: bytes, packet: bytes, roc: int) -> bytes:
    iv = xor(bytes(2) + packet[8:12] + roc.to_bytes(4, "big") + packet[2:4], salt)
    return packet[:12] + AESGCM(key).encrypt(iv, packet[12:], packet[:12])


def gcm_rtcp(key: bytes, salt: bytes, packet: bytes, index: int) -> bytes:
    trailer = (0x80000000 | index).to_bytes(4, "big")
    iv = xor(bytes(2) + packet[4:8] + bytes(2) + index.to_bytes(4, "big"), salt)
    return packet[:8] + AESGCM(key).encrypt(iv, packet[8:], packet[:8] + trailer) + trailer


def counter_mode(key: bytes, salt: bytes, ssrc: bytes, index: int, plain: bytes) -> bytes:
    iv = (int.from_bytes(salt, "big") << 16) ^ (int.from_bytes(ssrc, "big") << 64) ^ (index << 16)
    return xor(plain, keystream(key, iv.to_bytes(16, "big"), len(plain)))


def protect_rtp(key: bytes, salt: bytes, packet: bytes, roc: int, tag_bytes: int) -> bytes:
    """tag_bytes 0: AEAD. packet: 12-byte header and payload."""
    session_key = derive(key, salt, LABEL_RTP, len(key))
    session_salt = derive(key, salt, LABEL_RTP + 2, len(salt))
    if tag_bytes == 0:
        return gcm_rtp(session_key, session_salt, packet, roc)
    index = (roc << 16) | int.from_bytes(packet[2:4], "big")
    sealed = packet[:12] + counter_mode(session_key, session_salt, packet[8:12], index, packet[12:])
    auth_key = derive(key, salt, LABEL_RTP + 1, 20)
    return sealed + hmac.new(auth_key, sealed + roc.to_bytes(4, "big"), hashlib.sha1).digest()[:tag_bytes]


def protect_rtcp(key: bytes, salt: bytes, packet: bytes, index: int, aead: bool) -> bytes:
    """The 80-bit tag of every counter-mode suite, or AEAD."""
    session_key = derive(key, salt, LABEL_RTCP, len(key))
    session_salt = derive(key, salt, LABEL_RTCP + 2, len(salt))
    if aead:
        return gcm_rtcp(session_key, session_salt, packet, index)
    sealed = packet[:8] + counter_mode(session_key, session_salt, packet[4:8], index, packet[8:])
    sealed += (0x80000000 | index).to_bytes(4, "big")
    return sealed + hmac.new(derive(key, salt, LABEL_RTCP + 1, 20), sealed, hashlib.sha1).digest()[:10]
