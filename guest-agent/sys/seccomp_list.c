/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The default profile's programme. Theory of operation.
 *
 * The profile is a list of numbers, and most of what it says is about runs of
 * them: the programme looks for the run that a number lies in. Runs are halved
 * until few are left, which are then tried one by one; a single number within a
 * run of others is one comparison. What depends on arguments is decided in
 * blocks at the end.
 *
 * A compiler of arbitrary rules has a comparison and an answer for each number.
 * A shorter programme is not only made sooner: the kernel rewrites each
 * instruction that has a constant when it is installed (bpf_jit_harden), moving
 * all that follow, for every process that executes.
 *
 * Nothing but loads of 32 bits, comparisons, jumps and answers: so the kernel
 * sees which numbers are allowed whatever their arguments are, and does not run
 * the programme for them.
 */
#include "guest-agent/sys/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "common/base/cleanup.h"
#include "guest-agent/sys/seccomp_default.h"

/* Beyond all that is known; from here on it is ENOSYS. */
#define NUMBERS 512
/* So many runs are tried one by one. */
#define LEAF 8
/* CLONE_NEWNS NEWCGROUP NEWUTS NEWIPC NEWUSER NEWPID NEWNET */
#define CLONE_NAMESPACES 0x7e020000
#define X32_BIT		 0x40000000
/* A call that a tracer has cancelled. */
#define CANCELLED 0xffffffff

enum verdict {
	V_EPERM,
	V_ENOSYS,
	V_ALLOW,
	V_SOCKET, /* the rest: by argument */
	V_PERSONALITY,
	V_CLONE,
	V_MAX
};

struct run {
	uint32_t first;
	enum verdict verdict;
};

/* Each run is at most two instructions, the parts of the tree some more, and
 * so are the blocks. */
#define INSNS_MAX (NUMBERS * 4 + 64)

struct programme {
	struct sock_filter insns[INSNS_MAX];
	size_t n;
	/* Jumps to blocks that are not there yet. */
	struct {
		size_t at;
		enum verdict to;
	} open[NUMBERS];
	size_t n_open;
};

static size_t emit(struct programme *p, uint16_t code, uint32_t k)
{
	p->insns[p->n] = (struct sock_filter){.code = code, .k = k};
	return p->n++;
}

/* Both targets are of this file's own making and near. */
static void aim(struct programme *p, size_t at, size_t yes, size_t no)
{
	p->insns[at].jt = (uint8_t)(yes - at - 1);
	p->insns[at].jf = (uint8_t)(no - at - 1);
}

static size_t compare(struct programme *p, uint16_t op, uint32_t k)
{
	return emit(p, BPF_JMP | op | BPF_K, k);
}

static void load(struct programme *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset);
}

static size_t answer(struct programme *p, enum verdict v)
{
	static const uint32_t answers[] = {
		[V_EPERM] = SECCOMP_RET_ERRNO | EPERM,
		[V_ENOSYS] = SECCOMP_RET_ERRNO | ENOSYS,
		[V_ALLOW] = SECCOMP_RET_ALLOW,
	};

	if (v < ARRAY_SIZE(answers))
		return emit(p, BPF_RET | BPF_K, answers[v]);
	p->open[p->n_open].at = p->n;
	p->open[p->n_open++].to = v;
	return emit(p, BPF_JMP | BPF_JA, 0);
}

/* ------------------------------------------------------------ by number */

static size_t find_runs(struct run *runs)
{
	enum verdict v[NUMBERS];
	size_t i, n = 0;

	for (i = 0; i < NUMBERS; i++)
		v[i] = i < HYB_SECCOMP_FIRST_NEW ? V_EPERM : V_ENOSYS;
	for (i = 0; i < seccomp_allowed_n; i++)
		v[seccomp_allowed[i]] = V_ALLOW;
	for (i = 0; i < seccomp_new_calls_n; i++)
		if (seccomp_new_calls[i].allowed)
			v[seccomp_new_calls[i].nr] = V_ALLOW;
	v[SYS_socket] = V_SOCKET;
	v[SYS_personality] = V_PERSONALITY;
	v[SYS_clone] = V_CLONE;
	/* Its flags are in memory, where a filter cannot look; every C library
	 * falls back to clone() on ENOSYS. */
	v[SYS_clone3] = V_ENOSYS;
	for (i = 0; i < NUMBERS; i++)
		if (i == 0 || v[i] != v[i - 1])
			runs[n++] = (struct run){(uint32_t)i, v[i]};
	return n;
}

/* Is the run a single number between two that have the same answer? */
static bool is_hole(const struct run *runs, size_t i, size_t n)
{
	return i + 1 < n && runs[i - 1].verdict == runs[i + 1].verdict &&
	       runs[i + 1].first == runs[i].first + 1;
}

/* The number is known to lie in one of them. */
static void emit_leaf(struct programme *p, const struct run *runs, size_t n)
{
	size_t at[LEAF], answers[V_MAX], k = 0, i;
	enum verdict yes[LEAF];
	bool used[V_MAX] = {false};

	for (i = 1; i < n; k++) {
		bool hole = is_hole(runs, i, n);

		at[k] = compare(p, hole ? BPF_JEQ : BPF_JGE, runs[i].first);
		yes[k] = hole ? runs[i].verdict : V_MAX;
		used[runs[i - !hole].verdict] = true;
		i += hole ? 2 : 1;
	}
	used[runs[n - 1].verdict] = true;
	/* Behind the last comparison: the last run's. */
	answers[runs[n - 1].verdict] = answer(p, runs[n - 1].verdict);
	for (i = 0; i < V_MAX; i++)
		if (used[i] && i != runs[n - 1].verdict)
			answers[i] = answer(p, (enum verdict)i);
	for (i = 1, k = 0; i < n; k++) {
		if (yes[k] != V_MAX)
			aim(p, at[k], answers[yes[k]], at[k] + 1);
		else
			aim(p, at[k], at[k] + 1, answers[runs[i - 1].verdict]);
		i += yes[k] != V_MAX ? 2 : 1;
	}
}

static void emit_tree(struct programme *p, const struct run *runs, size_t n)
{
	size_t at, over;

	if (n <= LEAF) {
		emit_leaf(p, runs, n);
		return;
	}
	at = compare(p, BPF_JGE, runs[n / 2].first);
	over = emit(p, BPF_JMP | BPF_JA, 0);
	aim(p, at, over, over + 1);
	emit_tree(p, runs, n / 2);
	p->insns[over].k = (uint32_t)(p->n - over - 1);
	emit_tree(p, runs + n / 2, n - n / 2);
}

/* ---------------------------------------------------------- by argument */

/* All that jumped to the block jumps here. */
static void begin_block(struct programme *p, enum verdict v)
{
	size_t i;

	for (i = 0; i < p->n_open; i++)
		if (p->open[i].to == v)
			p->insns[p->open[i].at].k =
				(uint32_t)(p->n - p->open[i].at - 1);
}

/* 64 bits, where the kernel may look at 32: what it would not see is refused. */
static void emit_values(struct programme *p, const uint32_t *values, size_t n)
{
	size_t refuse, allow, first, i;

	load(p, offsetof(struct seccomp_data, args[0]) + sizeof(uint32_t));
	first = compare(p, BPF_JEQ, 0);
	load(p, offsetof(struct seccomp_data, args[0]));
	for (i = 0; i < n; i++)
		compare(p, BPF_JEQ, values[i]);
	refuse = answer(p, V_EPERM);
	allow = answer(p, V_ALLOW);
	aim(p, first, first + 1, refuse);
	for (i = 0; i < n; i++)
		aim(p, first + 2 + i, allow, first + 3 + i);
}

static void emit_blocks(struct programme *p)
{
	size_t at, allow;

	begin_block(p, V_SOCKET);
	emit_values(p, seccomp_families, seccomp_families_n);
	begin_block(p, V_PERSONALITY);
	emit_values(p, seccomp_personalities, seccomp_personalities_n);
	begin_block(p, V_CLONE);
	load(p, offsetof(struct seccomp_data, args[0]));
	at = compare(p, BPF_JSET, CLONE_NAMESPACES);
	allow = answer(p, V_ALLOW);
	aim(p, at, answer(p, V_EPERM), allow);
}

/* ------------------------------------------------------------- together */

static void emit_all(struct programme *p)
{
	struct run runs[NUMBERS];
	size_t at, kill;

	load(p, offsetof(struct seccomp_data, arch));
	at = compare(p, BPF_JEQ, AUDIT_ARCH_X86_64);
	kill = emit(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	aim(p, at, kill + 1, kill);
	load(p, offsetof(struct seccomp_data, nr));
	at = compare(p, BPF_JGE, X32_BIT);
	aim(p, at, at + 1, at + 4);
	at = compare(p, BPF_JEQ, CANCELLED);
	aim(p, at, at + 2, at + 1);
	emit(p, BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS);
	answer(p, V_EPERM);
	emit_tree(p, runs, find_runs(runs));
	emit_blocks(p);
}

const struct seccomp_filter *seccomp_filter_default(void)
{
	static struct programme p;
	static struct seccomp_filter filter;

	if (filter.n == 0) {
		emit_all(&p);
		filter.insns = p.insns;
		filter.n = (unsigned short)p.n;
	}
	return &filter;
}
