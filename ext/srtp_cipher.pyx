"""AES and HMAC-SHA1 of OpenSSL as SRTP uses them: contexts keyed once, per packet only a new counter.

Owns the key derivation of RFC 3711 §4.3 (rate 0) and the memory of one direction's cipher. HMAC-SHA1 goes on from
states that have swallowed the padded key already. What a packet is, ext/srtp knows.
"""

from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

cdef extern from *:
    """
    #define OPENSSL_SUPPRESS_DEPRECATED  /* SHA1_*: the only way to keep a half-done digest without allocating */
    #include <openssl/crypto.h>
    #include <openssl/evp.h>
    #include <openssl/sha.h>
    """

cdef extern from "<openssl/evp.h>" nogil:
    ctypedef struct EVP_CIPHER:
        pass
    ctypedef struct EVP_CIPHER_CTX:
        pass
    EVP_CIPHER_CTX* EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX* c)
    const EVP_CIPHER* EVP_aes_128_ctr()
    const EVP_CIPHER* EVP_aes_256_ctr()
    const EVP_CIPHER* EVP_aes_128_gcm()
    const EVP_CIPHER* EVP_aes_256_gcm()
    int EVP_CipherInit_ex(EVP_CIPHER_CTX* c, const EVP_CIPHER* kind, void* engine, const uint8_t* key,
                          const uint8_t* iv, int encrypt)
    int EVP_CipherUpdate(EVP_CIPHER_CTX* c, uint8_t* out, int* out_size, const uint8_t* data, int size)
    int EVP_CipherFinal_ex(EVP_CIPHER_CTX* c, uint8_t* out, int* out_size)
    int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX* c, int what, int number, void* data)
    int EVP_CTRL_AEAD_GET_TAG
    int EVP_CTRL_AEAD_SET_TAG

cdef extern from "<openssl/sha.h>" nogil:
    ctypedef struct SHA_CTX:
        pass
    int SHA1_Init(SHA_CTX* c)
    int SHA1_Update(SHA_CTX* c, const void* data, size_t size)
    int SHA1_Final(uint8_t* digest, SHA_CTX* c)

cdef extern from "<openssl/crypto.h>" nogil:
    int CRYPTO_memcmp(const void* a, const void* b, size_t size)
    void OPENSSL_cleanse(void* data, size_t size)

cdef enum:
    KEY_BYTES_MAX = 32
    SHA1_BLOCK = 64

cdef struct Cipher:
    EVP_CIPHER_CTX* context
    SHA_CTX inner                      # SHA-1 that has seen the key xor ipad
    SHA_CTX outer                      # and the key xor opad


cdef const EVP_CIPHER* kind_of(int key_bytes, bint gcm) noexcept nogil:
    if gcm:
        return EVP_aes_128_gcm() if key_bytes == 16 else EVP_aes_256_gcm()
    return EVP_aes_128_ctr() if key_bytes == 16 else EVP_aes_256_ctr()


cdef int derive(const uint8_t* master, int key_bytes, const uint8_t* salt, int label, uint8_t* out,
                int size) noexcept nogil:
    """RFC 3711 §4.3. salt: 14 bytes, a shorter one filled up with zeros (RFC 7714 §11). 0, or -1."""
    cdef EVP_CIPHER_CTX* prf = EVP_CIPHER_CTX_new()
    cdef uint8_t iv[16]
    cdef int done = 0
    cdef int result = -1
    memcpy(iv, salt, SALT_BYTES)
    iv[7] ^= <uint8_t>label
    iv[14] = 0
    iv[15] = 0
    memset(out, 0, size)
    if prf is not NULL and EVP_CipherInit_ex(prf, kind_of(key_bytes, False), NULL, master, iv, 1) == 1:
        if EVP_CipherUpdate(prf, out, &done, out, size) == 1 and done == size:
            result = 0
    EVP_CIPHER_CTX_free(prf)
    return result


cdef void hmac_key(Cipher* c, const uint8_t* key) noexcept nogil:
    cdef uint8_t block[SHA1_BLOCK]
    cdef int i
    for i in range(SHA1_BLOCK):
        block[i] = (key[i] if i < SHA1_BYTES else 0) ^ 0x36
    SHA1_Init(&c.inner)
    SHA1_Update(&c.inner, block, SHA1_BLOCK)
    for i in range(SHA1_BLOCK):
        block[i] ^= 0x36 ^ 0x5C
    SHA1_Init(&c.outer)
    SHA1_Update(&c.outer, block, SHA1_BLOCK)
    OPENSSL_cleanse(block, SHA1_BLOCK)


cdef Cipher* cipher_new(const uint8_t* master, int key_bytes, const uint8_t* salt, int label, bint gcm, bint encrypt,
                        uint8_t* session_salt) noexcept nogil:
    cdef uint8_t key[KEY_BYTES_MAX]
    cdef uint8_t auth[SHA1_BYTES]
    cdef Cipher* c = <Cipher*>calloc(1, sizeof(Cipher))
    cdef int direction = 1 if encrypt or not gcm else 0     # counter mode is its own inverse
    cdef bint made = False
    if c is NULL:
        return NULL
    c.context = EVP_CIPHER_CTX_new()
    if (c.context is not NULL and derive(master, key_bytes, salt, label, key, key_bytes) == 0
            and derive(master, key_bytes, salt, label + 1, auth, SHA1_BYTES) == 0
            and derive(master, key_bytes, salt, label + 2, session_salt, SALT_BYTES) == 0):
        hmac_key(c, auth)
        made = EVP_CipherInit_ex(c.context, kind_of(key_bytes, gcm), NULL, key, NULL, direction) == 1
    OPENSSL_cleanse(key, sizeof(key))
    OPENSSL_cleanse(auth, sizeof(auth))
    if made:
        return c
    cipher_free(c)
    return NULL


cdef void cipher_free(Cipher* c) noexcept nogil:
    if c is not NULL:
        EVP_CIPHER_CTX_free(c.context)
        OPENSSL_cleanse(c, sizeof(Cipher))
        free(c)


cdef bint tags_equal(const uint8_t* a, const uint8_t* b, int size) noexcept nogil:
    return CRYPTO_memcmp(a, b, size) == 0


cdef int counter_mode(Cipher* c, const uint8_t* iv, uint8_t* data, int size) noexcept nogil:
    cdef int done
    if size == 0:
        return 0
    if EVP_CipherInit_ex(c.context, NULL, NULL, NULL, iv, -1) != 1:
        return -1
    return 0 if EVP_CipherUpdate(c.context, data, &done, data, size) == 1 else -1


cdef void hmac_sha1(const Cipher* c, const uint8_t* data, int size, const uint8_t* more, int more_size,
                    uint8_t* digest) noexcept nogil:
    cdef SHA_CTX state = c.inner
    SHA1_Update(&state, data, size)
    if more_size:
        SHA1_Update(&state, more, more_size)
    SHA1_Final(digest, &state)
    state = c.outer
    SHA1_Update(&state, digest, SHA1_BYTES)
    SHA1_Final(digest, &state)


cdef inline int gcm_begin(Cipher* c, const uint8_t* iv, const uint8_t* header, int header_size,
                          const uint8_t* more, int more_size) noexcept nogil:
    cdef int done
    if EVP_CipherInit_ex(c.context, NULL, NULL, NULL, iv, -1) != 1:
        return -1
    if EVP_CipherUpdate(c.context, NULL, &done, header, header_size) != 1:
        return -1
    if more_size and EVP_CipherUpdate(c.context, NULL, &done, more, more_size) != 1:
        return -1
    return 0


cdef int gcm_seal(Cipher* c, const uint8_t* iv, const uint8_t* header, int header_size, const uint8_t* more,
                  int more_size, uint8_t* data, int size) noexcept nogil:
    """data[size] is encrypted, its tag put behind it."""
    cdef int done
    if gcm_begin(c, iv, header, header_size, more, more_size) < 0:
        return -1
    if size and EVP_CipherUpdate(c.context, data, &done, data, size) != 1:
        return -1
    if EVP_CipherFinal_ex(c.context, data + size, &done) != 1:
        return -1
    return 0 if EVP_CIPHER_CTX_ctrl(c.context, EVP_CTRL_AEAD_GET_TAG, GCM_TAG_BYTES, data + size) == 1 else -1


cdef int gcm_open(Cipher* c, const uint8_t* iv, const uint8_t* header, int header_size, const uint8_t* more,
                  int more_size, uint8_t* data, int size, uint8_t* tag) noexcept nogil:
    """data[size] is decrypted; -1: the tag is not its own, and data is rubbish."""
    cdef int done
    if gcm_begin(c, iv, header, header_size, more, more_size) < 0:
        return -1
    if EVP_CIPHER_CTX_ctrl(c.context, EVP_CTRL_AEAD_SET_TAG, GCM_TAG_BYTES, tag) != 1:
        return -1
    if size and EVP_CipherUpdate(c.context, data, &done, data, size) != 1:
        return -1
    return 0 if EVP_CipherFinal_ex(c.context, data + size, &done) == 1 else -1
