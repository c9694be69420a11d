/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/sys/devfilter.h"

#include <linux/bpf.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"

#define RWM (DEV_READ | DEV_WRITE | DEV_MKNOD)
#define RW  (DEV_READ | DEV_WRITE)

const struct dev_rule devfilter_short_list[] = {
	{true, 'c', 1, 3, RWM},	   /* null */
	{true, 'c', 1, 5, RWM},	   /* zero */
	{true, 'c', 1, 7, RWM},	   /* full */
	{true, 'c', 1, 8, RWM},	   /* random */
	{true, 'c', 1, 9, RWM},	   /* urandom */
	{true, 'c', 5, 0, RWM},	   /* tty */
	{true, 'c', 5, 2, RWM},	   /* ptmx */
	{true, 'c', 136, -1, RWM}, /* pts */
};
const size_t devfilter_short_list_n = ARRAY_SIZE(devfilter_short_list);

/* A rule takes at most 9 instructions, the frame around them 6. */
#define INSNS_MAX (HYB_DEV_RULES_MAX * 9 + 6)

/* Registers: R1 context, R2 type, R3 access, R4 major, R5 minor, R6 scratch. */
static struct bpf_insn insn(uint8_t code, uint8_t dst, uint8_t src, int16_t off,
			    int32_t imm)
{
	struct bpf_insn i = {.code = code, .off = off, .imm = imm};
	uint8_t regs = (uint8_t)(dst | src << 4);

	/* The second byte: two bit fields, the destination low. */
	memcpy((char *)&i + 1, &regs, 1);
	return i;
}

/* The first word of the context has the type in its lower half and the access
 * in its upper one. */
static size_t emit_frame(struct bpf_insn *p)
{
	size_t n = 0;

	p[n++] = insn(BPF_LDX | BPF_H | BPF_MEM, BPF_REG_2, BPF_REG_1, 0, 0);
	p[n++] = insn(BPF_LDX | BPF_H | BPF_MEM, BPF_REG_3, BPF_REG_1, 2, 0);
	p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_4, BPF_REG_1, 4, 0);
	p[n++] = insn(BPF_LDX | BPF_W | BPF_MEM, BPF_REG_5, BPF_REG_1, 8, 0);
	return n;
}

/* One rule: tests that jump behind it when it does not speak of the access,
 * then its verdict. */
static size_t emit_rule(struct bpf_insn *p, const struct dev_rule *r)
{
	size_t tests[4], n_tests = 0, n = 0, i;
	int32_t access = 0;

	if (r->access & DEV_READ)
		access |= BPF_DEVCG_ACC_READ;
	if (r->access & DEV_WRITE)
		access |= BPF_DEVCG_ACC_WRITE;
	if (r->access & DEV_MKNOD)
		access |= BPF_DEVCG_ACC_MKNOD;
	if (r->type != 'a') {
		tests[n_tests++] = n;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
			      r->type == 'b' ? BPF_DEVCG_DEV_BLOCK
					     : BPF_DEVCG_DEV_CHAR);
	}
	if (r->major >= 0) {
		tests[n_tests++] = n;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0,
			      (int32_t)r->major);
	}
	if (r->minor >= 0) {
		tests[n_tests++] = n;
		p[n++] = insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0,
			      (int32_t)r->minor);
	}
	if (r->access != RWM) {
		/* An allowing rule must cover all that is asked for; a denying
		 * one need only touch it. */
		p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_6, BPF_REG_3,
			      0, 0);
		p[n++] = insn(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_6, 0, 0,
			      r->allow ? ~access : access);
		tests[n_tests++] = n;
		p[n++] = insn(BPF_JMP | (r->allow ? BPF_JNE : BPF_JEQ) | BPF_K,
			      BPF_REG_6, 0, 0, 0);
	}
	p[n++] = insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, r->allow);
	p[n++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (i = 0; i < n_tests; i++)
		p[tests[i]].off = (int16_t)(n - tests[i] - 1);
	return n;
}

/* Does it decide about everything? Then nothing may follow: the verifier
 * refuses code that cannot be reached. */
static bool is_last_word(const struct dev_rule *r)
{
	return r->type == 'a' && r->major < 0 && r->minor < 0 &&
	       r->access == RWM;
}

static int prog_load(const struct bpf_insn *p, size_t n)
{
	static const char license[] = "Apache-2.0";
	union bpf_attr attr;
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	attr.insns = (uint64_t)(uintptr_t)p;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uint64_t)(uintptr_t)license;
	memcpy(attr.prog_name, "hyb_devices", sizeof("hyb_devices"));
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));
	return fd < 0 ? -errno : fd;
}

int devfilter_load(const struct dev_rule *rules, size_t n, struct err *e)
{
	_cleanup_free_ struct bpf_insn *p = NULL;
	size_t len, i;
	bool closed = false;
	int fd;

	if (n > HYB_DEV_RULES_MAX)
		return err_set(e, E2BIG, "more than %d device rules",
			       HYB_DEV_RULES_MAX);
	p = calloc(INSNS_MAX, sizeof(*p));
	if (!p)
		return err_sys(e, ENOMEM, "device programme");
	len = emit_frame(p);
	for (i = n; i > 0 && !closed; i--) {
		len += emit_rule(p + len, &rules[i - 1]);
		closed = is_last_word(&rules[i - 1]);
	}
	if (!closed) {
		p[len++] =
			insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
		p[len++] = insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	}
	fd = prog_load(p, len);
	if (fd < 0)
		return err_sys(e, -fd, "load the device programme");
	return fd;
}

int devfilter_attach(int prog_fd, int cgroup_fd, struct err *e)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cgroup_fd;
	attr.attach_bpf_fd = (uint32_t)prog_fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (syscall(SYS_bpf, BPF_PROG_ATTACH, &attr, sizeof(attr)) < 0)
		return err_sys(e, errno, "attach the device programme");
	return 0;
}
