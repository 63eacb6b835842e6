/* Phones for the relay and mixing benchmarks: n sockets, each sends a packet of RTP every 20 ms, evenly spread over the
 * 20 ms, and reads what comes back. Without PAYLOAD the packets are 172 bytes and carry their time of sending, so that
 * each one received is one latency; with it (hex) every packet has that payload and what comes back is only counted.
 *
 *   load N WARMUP_MS MEASURE_MS PHONE_HOST PHONE_PORT [TYPE CLOCK_PER_PACKET PAYLOAD] < ports
 *
 * ports: N lines "host port", where phone i sends to. PAYLOAD may be several, "hex,hex,…": packet after packet, around
 * and around, every phone from another place in it. In the environment:
 *
 *   QUIET=hex,hex,…   what two of three phones send instead (1, 2, 4, 5, …)
 *   OTHER=hex,hex,…   what every other phone sends instead (1, 3, …), with OTHER_TYPE and OTHER_CLOCK of its own
 *   LOSS=0.02         share of packets that are not sent, independent of each other; they count as sent
 *   JITTER_MS=10      each packet waits for so long on average, exponentially: some overtake others
 *
 * Built with -DSRTP -lsrtp2 every other phone (0, 2, …), with SRTP_ALL every one, is a browser: it protects what it sends
 * with the master key and salt in the environment's SRTP_KEY (60 hex digits, AES_CM_128_HMAC_SHA1_80) and only counts
 * what it receives.
 *
 * Phone i is bound to PHONE_HOST:PHONE_PORT+i. Prints "go" when the warm-up is over and "end" when the time is, then one
 * line: sent received p50_us p99_us p999_us max_us late_sends (over 1 ms behind schedule). The measuring process reads
 * the servers' run time at "go" and "end". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifdef SRTP
#include <srtp2/srtp.h>
static srtp_t sessions[65536];
#endif

#define PACKET_BYTES 172
#define INTERVAL_NS 20000000LL
#define BUCKETS 200000 /* of 1 us */
#define FRAMES_MAX 1000
#define FRAME_BYTES_MAX 512
#define HELD_MAX 65536
#define WHEEL_MS 1024

static uint32_t histogram[BUCKETS];
static int sockets[65536];
struct frames {
    int count, size[FRAMES_MAX];
    uint8_t data[FRAMES_MAX][FRAME_BYTES_MAX];
};
static struct frames spoken, quiet, other;
static int payload_type, clock_step = 160, other_type, other_step, secure_step = 2;

/* What jitter holds back: a wheel of 1 ms steps. */
struct held {
    int phone, next;
    uint32_t turn;
};
static struct held held[HELD_MAX];
static int wheel[WHEEL_MS], held_free;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static struct sockaddr_in address(const char *host, int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};
    if (inet_pton(AF_INET, host, &a.sin_addr) != 1) die(host);
    return a;
}

static double percentile(uint64_t count, double share) {
    uint64_t wanted = (uint64_t)(count * share), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) > wanted) return i;
    return BUCKETS;
}

static void read_frames(struct frames *to, const char *hex) {
    int at = 0, got;
    for (; *hex && to->count < FRAMES_MAX; hex += 1) {
        for (at = 0; at < FRAME_BYTES_MAX && sscanf(hex, "%2hhx%n", &to->data[to->count][at], &got) == 1; hex += 2) at++;
        to->size[to->count++] = at;
        if (*hex != ',') break;
    }
}

static void send_one(int i, uint32_t turn, int64_t now) {
    int otherwise = other.count && i % 2;
    const struct frames *say = otherwise ? &other : quiet.count && i % 3 ? &quiet : &spoken;
    int frame = say->count ? (turn + i * 37) % say->count : 0;
    uint8_t data[1500] = {0x80, (otherwise ? other_type : payload_type) | (turn ? 0 : 0x80)};
    uint32_t timestamp = htonl(turn * (otherwise ? other_step : clock_step)), ssrc = htonl(0x10000 + i);
    uint16_t sequence = htons((uint16_t)turn);
    memcpy(data + 2, &sequence, 2);
    memcpy(data + 4, &timestamp, 4);
    memcpy(data + 8, &ssrc, 4);
    memcpy(data + 12, say->count ? say->data[frame] : (uint8_t *)&now, say->count ? say->size[frame] : 8);
    int size = say->count ? 12 + say->size[frame] : PACKET_BYTES;
#ifdef SRTP
    if (i % secure_step == 0) srtp_protect(sessions[i], data, &size);
#endif
    send(sockets[i], data, size, MSG_DONTWAIT);
}

static void hold(int i, uint32_t turn, int64_t now, double jitter_ms) {
    int wait = (int)(-log(1 - drand48()) * jitter_ms), entry = held_free, *slot;
    if (entry < 0) return;
    slot = &wheel[(now / 1000000 + (wait < WHEEL_MS - 1 ? wait : WHEEL_MS - 2) + 1) % WHEEL_MS];
    held_free = held[entry].next;
    held[entry] = (struct held){i, *slot, turn};
    *slot = entry;
}

static void let_go(int64_t from_ms, int64_t to_ms) {
    for (; from_ms <= to_ms; from_ms++)
        for (int *slot = &wheel[from_ms % WHEEL_MS], entry; (entry = *slot) >= 0;) {
            send_one(held[entry].phone, held[entry].turn, 0);
            *slot = held[entry].next;
            held[entry].next = held_free;
            held_free = entry;
        }
}

#ifdef SRTP
static void make_sessions(int n) {
    unsigned char key[30];
    const char *hex = getenv("SRTP_KEY");
    if (!hex || strlen(hex) != 60 || srtp_init() != srtp_err_status_ok) exit(2);
    for (int i = 0; i < 30; i++) sscanf(hex + 2 * i, "%2hhx", &key[i]);
    for (int i = 0; i < n; i += secure_step) {
        srtp_policy_t policy = {.ssrc = {ssrc_any_outbound, 0}, .key = key, .window_size = 1024};
        srtp_crypto_policy_set_rtp_default(&policy.rtp);
        srtp_crypto_policy_set_rtcp_default(&policy.rtcp);
        if (srtp_create(&sessions[i], &policy) != srtp_err_status_ok) exit(2);
    }
}
#endif

int main(int argc, char **argv) {
    if (argc != 6 && argc != 9) return 2;
    if (argc == 9) {
        payload_type = atoi(argv[6]);
        clock_step = atoi(argv[7]);
        read_frames(&spoken, argv[8]);
        read_frames(&quiet, getenv("QUIET") ? getenv("QUIET") : "");
        read_frames(&other, getenv("OTHER") ? getenv("OTHER") : "");
        if (other.count) {
            other_type = atoi(getenv("OTHER_TYPE"));
            other_step = atoi(getenv("OTHER_CLOCK"));
        }
    }
    double loss = getenv("LOSS") ? atof(getenv("LOSS")) : 0;
    double jitter_ms = getenv("JITTER_MS") ? atof(getenv("JITTER_MS")) : 0;
    if (getenv("SRTP_ALL")) secure_step = 1;
    for (int i = 0; i < HELD_MAX; i++) held[i].next = i + 1 < HELD_MAX ? i + 1 : -1;
    for (int i = 0; i < WHEEL_MS; i++) wheel[i] = -1;
    srand48(1);
    int n = atoi(argv[1]);
    int64_t warmup = atoll(argv[2]) * 1000000, measure = atoll(argv[3]) * 1000000;
    int epoll = epoll_create1(0);
    prctl(PR_SET_TIMERSLACK, 1000);
    for (int i = 0; i < n; i++) {
        char host[64];
        int port;
        if (scanf("%63s %d", host, &port) != 2) return 2;
        struct sockaddr_in own = address(argv[4], atoi(argv[5]) + i), to = address(host, port);
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (bind(sockets[i], (void *)&own, sizeof own) < 0) die("bind");
        if (connect(sockets[i], (void *)&to, sizeof to) < 0) die("connect");
        epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event);
    }
#ifdef SRTP
    make_sessions(n);
#endif
    int64_t start = now_ns() + 50000000, go = start + warmup, end = go + measure;
    int64_t gone_ms = start / 1000000;
    uint64_t packet = 0, sent = 0, received = 0, timed = 0, late = 0, longest = 0;
    int measuring = 0;
    for (;;) {
        int64_t now = now_ns(), due;
        if (!measuring && now >= go) {
            measuring = 1;
            puts("go");
            fflush(stdout);
        }
        if (now >= end) break;
        while ((due = start + (int64_t)(packet / n) * INTERVAL_NS + (int64_t)(packet % n) * INTERVAL_NS / n) <= now) {
            if (loss > 0 && drand48() < loss)
                ;
            else if (jitter_ms > 0)
                hold(packet % n, packet / n, now, jitter_ms);
            else
                send_one(packet % n, packet / n, now_ns());
            sent += measuring;
            late += measuring && now - due > 1000000;
            packet++;
        }
        if (jitter_ms > 0) {
            let_go(gone_ms + 1, now / 1000000);
            if (now / 1000000 > gone_ms) gone_ms = now / 1000000;
            if (due > now + 1000000) due = now + 1000000;
        }
        struct epoll_event events[64];
        struct timespec wait = {0, due - now > 0 ? due - now : 0};
        int ready = epoll_pwait2(epoll, events, 64, &wait, NULL);
        for (int i = 0; i < ready; i++) {
            uint8_t data[2048];
            int64_t sent_at;
            ssize_t got = recv(sockets[events[i].data.u32], data, sizeof data, MSG_DONTWAIT);
            if (got < 12 || !measuring) continue;
#ifdef SRTP
            if (events[i].data.u32 % secure_step == 0) {
                received += data[1] < 192 || data[1] > 223; /* no RTCP */
                continue;
            }
#endif
            if (spoken.count) {
                received++;
                continue;
            }
            if (got != PACKET_BYTES) continue;
            memcpy(&sent_at, data + 12, 8);
            uint64_t us = (uint64_t)(now_ns() - sent_at) / 1000;
            histogram[us < BUCKETS ? us : BUCKETS - 1]++;
            if (us > longest) longest = us;
            timed++;
            received++;
        }
    }
    puts("end");
    printf("%lu %lu %.0f %.0f %.0f %lu %lu\n", (unsigned long)sent, (unsigned long)received, percentile(timed, 0.5),
           percentile(timed, 0.99), percentile(timed, 0.999), (unsigned long)longest, (unsigned long)late);
    return 0;
}
