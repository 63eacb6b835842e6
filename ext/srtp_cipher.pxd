# The arithmetic of SRTP: AES in counter mode and GCM, HMAC-SHA1, and the derivation of their keys. One per kind of
# packet and direction. Nothing allocates but cipher_new.
from libc.stdint cimport uint8_t

cdef enum:
    SALT_BYTES = 14
    GCM_SALT_BYTES = 12
    GCM_TAG_BYTES = 16
    SHA1_BYTES = 20

cdef struct Cipher                     # opaque

# master: key_bytes 16 or 32. salt: 14 bytes, a shorter one filled up with zeros (RFC 7714 §11). label: of the
# encryption key, RFC 3711 §4.3.1; + 1 gives the authentication key, + 2 session_salt[14], which is written. NULL: not
# possible.
cdef Cipher* cipher_new(const uint8_t* master, int key_bytes, const uint8_t* salt, int label, bint gcm, bint encrypt,
                        uint8_t* session_salt) noexcept nogil
cdef void cipher_free(Cipher* c) noexcept nogil
# data[size] in place. 0, or -1.
cdef int counter_mode(Cipher* c, const uint8_t* iv, uint8_t* data, int size) noexcept nogil
# digest[20] of data and then more.
cdef void hmac_sha1(const Cipher* c, const uint8_t* data, int size, const uint8_t* more, int more_size,
                    uint8_t* digest) noexcept nogil
# In time that does not tell where they differ.
cdef bint tags_equal(const uint8_t* a, const uint8_t* b, int size) noexcept nogil
# header and more are authenticated; data[size] is encrypted and its tag[16] put behind it. 0, or -1.
cdef int gcm_seal(Cipher* c, const uint8_t* iv, const uint8_t* header, int header_size, const uint8_t* more,
                  int more_size, uint8_t* data, int size) noexcept nogil
# data[size] is decrypted. -1: the tag is not its own, and data is rubbish.
cdef int gcm_open(Cipher* c, const uint8_t* iv, const uint8_t* header, int header_size, const uint8_t* more,
                  int more_size, uint8_t* data, int size, uint8_t* tag) noexcept nogil
