/* What libsrtp2 needs to protect and unprotect RTP packets: built and run by benchmarks/srtp.py.
 * arguments: suite (index of model.SrtpProfile), payload bytes, packets; prints "protect unprotect" in ns per packet. */
#include <srtp2/srtp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1e9 + t.tv_nsec;
}

static void choose(srtp_crypto_policy_t *policy, int suite)
{
    switch (suite) {
    case 0: srtp_crypto_policy_set_rtp_default(policy); break;
    case 1: srtp_crypto_policy_set_aes_cm_128_hmac_sha1_32(policy); break;
    case 2: srtp_crypto_policy_set_aes_cm_256_hmac_sha1_80(policy); break;
    case 3: srtp_crypto_policy_set_aes_cm_256_hmac_sha1_32(policy); break;
    case 4: srtp_crypto_policy_set_aes_gcm_128_16_auth(policy); break;
    default: srtp_crypto_policy_set_aes_gcm_256_16_auth(policy);
    }
}

static srtp_t session(int suite, int outbound)
{
    static unsigned char key[46] = {1, 2, 3};
    srtp_policy_t policy;
    srtp_t made;
    memset(&policy, 0, sizeof policy);
    choose(&policy.rtp, suite);
    choose(&policy.rtcp, suite);
    policy.ssrc.type = outbound ? ssrc_any_outbound : ssrc_any_inbound;
    policy.key = key;
    policy.window_size = 1024;
    if (srtp_create(&made, &policy) != srtp_err_status_ok)
        exit(1);
    return made;
}

int main(int argc, char **argv)
{
    int suite = atoi(argv[1]), payload = atoi(argv[2]), count = atoi(argv[3]), i, size;
    srtp_t out, in;
    unsigned char *packets = calloc(count, 1600);
    int *sizes = calloc(count, sizeof(int));
    double start, protect, unprotect;
    if (argc < 4 || !packets || !sizes || srtp_init() != srtp_err_status_ok)
        return 1;
    out = session(suite, 1);
    in = session(suite, 0);
    for (i = 0; i < count; i++) {
        unsigned char *p = packets + 1600L * i;
        p[0] = 0x80;
        p[2] = i >> 8;
        p[3] = i;
        p[11] = 7;
    }
    start = now_ns();
    for (i = 0; i < count; i++) {
        size = 12 + payload;
        srtp_protect(out, packets + 1600L * i, &size);
        sizes[i] = size;
    }
    protect = now_ns() - start;
    start = now_ns();
    for (i = 0; i < count; i++) {
        size = sizes[i];
        if (srtp_unprotect(in, packets + 1600L * i, &size) != srtp_err_status_ok)
            return 1;
    }
    unprotect = now_ns() - start;
    printf("%.1f %.1f\n", protect / count, unprotect / count);
    return 0;
}
