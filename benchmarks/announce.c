/* The limit: what the kernel alone costs for one speaker to many listeners. One thread, one UDP socket per listener as the
 * media worker has one per leg; every 20 ms each gets the same packet, its sequence number written anew.
 *
 *   announce TICKS OCTETS PORT...     sends from 127.0.0.1 to 127.0.0.1:PORT...; prints packets sent and CPU ns */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

static long long now(clockid_t clock) {
    struct timespec at;
    clock_gettime(clock, &at);
    return at.tv_sec * 1000000000LL + at.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    int ticks = atoi(argv[1]), octets = atoi(argv[2]), count = argc - 3;
    int *sockets = calloc(count, sizeof *sockets);
    struct sockaddr_in *peers = calloc(count, sizeof *peers);
    unsigned char packet[1500] = {0x80, 111};
    long long sent = 0;
    if (octets < 12 || octets > 1500) return 2;
    for (int i = 0; i < count; i++) {
        peers[i].sin_family = AF_INET;
        peers[i].sin_port = htons(atoi(argv[3 + i]));
        peers[i].sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (sockets[i] < 0) {
            perror("socket");
            return 1;
        }
    }
    long long due = now(CLOCK_MONOTONIC), began = now(CLOCK_PROCESS_CPUTIME_ID);
    for (int tick = 0; tick < ticks; tick++) {
        for (int i = 0; i < count; i++) {
            packet[2] = tick >> 8;
            packet[3] = tick;
            sent += sendto(sockets[i], packet, octets, 0, (void *)&peers[i], sizeof peers[i]) == octets;
        }
        due += 20000000;
        struct timespec until = {due / 1000000000, due % 1000000000};
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL);
    }
    printf("%lld %lld\n", sent, now(CLOCK_PROCESS_CPUTIME_ID) - began);
    return 0;
}
