/* The limit: what the kernel alone costs for forwarding RTP in user space. One thread, epoll, one UDP socket per leg;
 * legs 2k and 2k+1 are a call: what arrives on one leaves by the other to where the other was last heard from. Scheduled
 * like the media worker: after a round that found six sockets or more ready it lets work gather for 0.25 ms.
 *
 *   reflector N HOST PORT NAP_US      binds HOST:PORT, PORT+2, …; prints "ready"; runs until killed */
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

#define BUSY_EVENTS 6

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    int n = atoi(argv[1]), nap_us = atoi(argv[4]);
    int *sockets = calloc(n, sizeof *sockets);
    struct sockaddr_in *peers = calloc(n, sizeof *peers);
    int epoll = epoll_create1(0);
    prctl(PR_SET_TIMERSLACK, 1000);
    for (int i = 0; i < n; i++) {
        struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[3]) + 2 * i)};
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = i};
        inet_pton(AF_INET, argv[2], &own.sin_addr);
        sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        if (bind(sockets[i], (void *)&own, sizeof own) < 0) {
            perror("bind");
            return 1;
        }
        epoll_ctl(epoll, EPOLL_CTL_ADD, sockets[i], &event);
    }
    puts("ready");
    fflush(stdout);
    int ready = 0;
    for (;;) {
        struct epoll_event events[512];
        if (nap_us && ready >= BUSY_EVENTS) {
            struct timespec nap = {0, nap_us * 1000L};
            clock_nanosleep(CLOCK_MONOTONIC, 0, &nap, NULL);
        }
        ready = epoll_wait(epoll, events, 512, -1);
        for (int k = 0; k < ready; k++) {
            uint8_t data[2048];
            int i = events[k].data.u32, to = i ^ 1;
            socklen_t size = sizeof peers[i];
            ssize_t got = recvfrom(sockets[i], data, sizeof data, MSG_DONTWAIT, (void *)&peers[i], &size);
            if (got > 0 && peers[to].sin_port)
                sendto(sockets[to], data, got, MSG_DONTWAIT, (void *)&peers[to], sizeof peers[to]);
        }
    }
}
