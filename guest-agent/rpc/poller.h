/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's event loop: descriptors by epoll, timers by a sorted list. One
 * thread; nothing that it calls may block. */
#ifndef HYB_GUEST_RPC_POLLER_H
#define HYB_GUEST_RPC_POLLER_H

#include "common/base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* The struct of type `type` whose member `member` is at ptr. */
#define container_of(ptr, type, member) \
	((type *)(void *)((char *)(ptr)-offsetof(type, member)))

/* A descriptor that is watched; part of what it belongs to. */
struct watch {
	int fd;		 /* -1: none; its owner closes it */
	uint32_t events; /* what it is watched for; 0: not in the set */
	void (*fn)(struct watch *w, uint32_t events);
};

struct timer {
	uint64_t at_ms; /* CLOCK_MONOTONIC */
	bool armed;
	struct timer *next;
	void (*fn)(struct timer *t);
};

#define POLLER_BATCH 32

struct poller {
	int epfd;
	struct epoll_event batch[POLLER_BATCH];
	int n, at; /* of the batch being worked on */
	struct timer *timers;
};

int poller_init(struct poller *l, struct err *e);
void poller_done(struct poller *l);

/* Watches w->fd for these events (level-triggered); 0 takes it out, so that
 * not even a hang-up is told. 0 or -errno. */
int poller_watch(struct poller *l, struct watch *w, uint32_t events);
/* Takes it out and closes the descriptor. What epoll has already said of it is
 * forgotten. */
void poller_close(struct poller *l, struct watch *w);

/* Calls fn once, at_ms of CLOCK_MONOTONIC; moves a timer that is armed. */
void poller_timer_set(struct poller *l, struct timer *t, uint64_t at_ms);
void poller_timer_cancel(struct poller *l, struct timer *t);

/* Waits for something to happen (max_ms: at most so long, -1: no limit) and
 * does it. 0 or -errno. */
int poller_step(struct poller *l, int max_ms);

#endif
