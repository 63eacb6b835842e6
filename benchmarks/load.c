/* Phones for the relay and mixing benchmarks: n sockets, each sends a packet of RTP every 20 ms, evenly spread over the
 * 20 ms, and reads what comes back. Without PAYLOAD the packets are 172 bytes and carry their time of sending, so that
 * each one received is one latency; with it (hex) every packet has that payload and what comes back is only counted.
 *
 *   load N WARMUP_MS MEASURE_MS PHONE_HOST PHONE_PORT [TYPE CLOCK_PER_PACKET PAYLOAD] < ports
 *
 * ports: N lines "host port", where phone i sends to.
 *
 * Phone i is bound to PHONE_HOST:PHONE_PORT+i. Prints "go" when the warm-up is over and "end" when the time is, then one
 * line: sent received p50_us p99_us p999_us max_us late_sends (over 1 ms behind schedule). The measuring process reads
 * the servers' run time at "go" and "end". */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define PACKET_BYTES 172
#define INTERVAL_NS 20000000LL
#define BUCKETS 200000 /* of 1 us */

static uint32_t histogram[BUCKETS];
static int sockets[65536];
static uint8_t payload[1400];
static int payload_size, payload_type, clock_step = 160;

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

static void send_one(int i, uint32_t turn, int64_t now) {
    uint8_t data[1500] = {0x80, payload_type | (turn ? 0 : 0x80)};
    uint32_t timestamp = htonl(turn * clock_step), ssrc = htonl(0x10000 + i);
    uint16_t sequence = htons((uint16_t)turn);
    memcpy(data + 2, &sequence, 2);
    memcpy(data + 4, &timestamp, 4);
    memcpy(data + 8, &ssrc, 4);
    memcpy(data + 12, payload_size ? payload : (uint8_t *)&now, payload_size ? payload_size : 8);
    send(sockets[i], data, payload_size ? 12 + payload_size : PACKET_BYTES, MSG_DONTWAIT);
}

int main(int argc, char **argv) {
    if (argc != 6 && argc != 9) return 2;
    if (argc == 9) {
        payload_type = atoi(argv[6]);
        clock_step = atoi(argv[7]);
        for (const char *p = argv[8]; sscanf(p, "%2hhx", &payload[payload_size]) == 1; p += 2) payload_size++;
    }
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
    int64_t start = now_ns() + 50000000, go = start + warmup, end = go + measure;
    uint64_t packet = 0, sent = 0, received = 0, late = 0, longest = 0;
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
            send_one(packet % n, packet / n, now_ns());
            sent += measuring;
            late += measuring && now - due > 1000000;
            packet++;
        }
        struct epoll_event events[64];
        struct timespec wait = {0, due - now > 0 ? due - now : 0};
        int ready = epoll_pwait2(epoll, events, 64, &wait, NULL);
        for (int i = 0; i < ready; i++) {
            uint8_t data[2048];
            int64_t sent_at;
            ssize_t got = recv(sockets[events[i].data.u32], data, sizeof data, MSG_DONTWAIT);
            if (got < 12 || !measuring) continue;
            if (payload_size) {
                received++;
                continue;
            }
            if (got != PACKET_BYTES) continue;
            memcpy(&sent_at, data + 12, 8);
            uint64_t us = (uint64_t)(now_ns() - sent_at) / 1000;
            histogram[us < BUCKETS ? us : BUCKETS - 1]++;
            if (us > longest) longest = us;
            received++;
        }
    }
    puts("end");
    printf("%lu %lu %.0f %.0f %.0f %lu %lu\n", (unsigned long)sent, (unsigned long)received, percentile(received, 0.5),
           percentile(received, 0.99), percentile(received, 0.999), (unsigned long)longest, (unsigned long)late);
    return 0;
}
