/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filters of configurations; the default one is in seccomp_list.c.
 *
 * Theory of operation. libseccomp compiles rules to BPF; a short prologue of
 * our own goes in front of its programme, for what it cannot express: numbers
 * that no rule can name (newer than its table) answer ENOSYS, so that a C
 * library from the future falls back to an older call, where EPERM would make
 * it give up. Jumps in BPF are relative, so the prologue needs no relocation.
 *
 * Calls of other architectures (int 0x80, x32) kill the process: filters that
 * forget them have been the way around more than one sandbox.
 */
#include "guest-agent/sys/seccomp.h"

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/seccomp_default.h"

/* BPF_MAXINSNS of the kernel. */
#define INSNS_MAX 4096

static void cleanup_ctx(scmp_filter_ctx *ctx)
{
	if (*ctx)
		seccomp_release(*ctx);
}

void seccomp_filter_done(struct seccomp_filter *f)
{
	free(f->insns);
	f->insns = NULL;
	f->n = 0;
}

/* What is answered to a call that libseccomp cannot name. */
struct new_rule {
	uint32_t nr, ret;
};
#define NEW_RULES_MAX 64

/* Rules for numbers from HYB_SECCOMP_FIRST_NEW on, which are decided in front
 * of libseccomp's programme. */
struct new_rules {
	struct new_rule rules[NEW_RULES_MAX];
	size_t n;
	bool open; /* those without a rule: as the programme says; else ENOSYS */
};

/* Most instructions of a prologue. */
#define PROLOGUE_MAX (2 * NEW_RULES_MAX + 6)

static size_t emit_prologue(struct sock_filter *p, const struct new_rules *new)
{
	const uint32_t enosys = SECCOMP_RET_ERRNO | ENOSYS;
	/* From the comparison with the first new number to the end. */
	uint8_t over = (uint8_t)(2 * new->n + !new->open);
	size_t n = 0, i;

	if (new->open &&new->n == 0)
		return 0;
	p[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch));
	p[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
					      AUDIT_ARCH_X86_64, 0,
					      (uint8_t)(over + 3));
	p[n++] = (struct sock_filter)BPF_STMT(
		BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
	p[n++] = (struct sock_filter)BPF_JUMP(
		BPF_JMP | BPF_JGE | BPF_K, 0x40000000, (uint8_t)(over + 1), 0);
	p[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K,
					      HYB_SECCOMP_FIRST_NEW, 0, over);
	for (i = 0; i < new->n; i++) {
		p[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K,
						      new->rules[i].nr, 0, 1);
		p[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K,
						      new->rules[i].ret);
	}
	if (!new->open)
		p[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, enosys);
	return n;
}

static int export_filter(scmp_filter_ctx ctx, const struct new_rules *new,
			 struct seccomp_filter *ret, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	struct sock_filter *p;
	struct stat st;
	size_t n, len;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "seccomp: memfd_create");
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return err_sys(e, -r, "seccomp: compile");
	if (fstat(fd, &st) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		return err_sys(e, errno, "seccomp: export");
	len = (size_t)st.st_size;
	if (len / sizeof(*p) + PROLOGUE_MAX > INSNS_MAX)
		return err_set(e, E2BIG, "seccomp: the filter is too long");
	p = calloc(len / sizeof(*p) + PROLOGUE_MAX, sizeof(*p));
	if (!p)
		return err_sys(e, ENOMEM, "seccomp");
	n = emit_prologue(p, new);
	if (read_full(fd, p + n, len) != (ssize_t)len) {
		free(p);
		return err_set(e, EIO, "seccomp: export was cut");
	}
	ret->insns = p;
	ret->n = (unsigned short)(n + len / sizeof(*p));
	return 0;
}

/* Attributes that every filter has. */
static int set_attributes(scmp_filter_ctx ctx)
{
	int r;

	r = seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH,
			     SCMP_ACT_KILL_PROCESS);
	if (r < 0)
		return r;
	/* no_new_privs is the engine's business. */
	r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_NNP, 0);
	if (r < 0)
		return r;
	/* A binary tree in place of a list: 9 comparisons instead of 300. */
	return seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
}

/* The kernel takes 32 bits of the family, and so does this. */
const struct seccomp_filter *seccomp_filter_floor(void)
{
	static struct sock_filter insns[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 8),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_ALG, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
	};
	static const struct seccomp_filter floor = {.insns = insns,
						    .n = ARRAY_SIZE(insns)};

	return &floor;
}

/* --------------------------------------------------- from a configuration */

/* path: of the member that has the name. */
static int parse_action(const char *name, const struct oci_opt *errno_ret,
			const char *path, uint32_t *ret, struct err *e)
{
	uint16_t code = EPERM;

	if (errno_ret->set)
		code = (uint16_t)errno_ret->value;
	if (strcmp(name, "SCMP_ACT_ALLOW") == 0)
		*ret = SCMP_ACT_ALLOW;
	else if (strcmp(name, "SCMP_ACT_ERRNO") == 0)
		*ret = SCMP_ACT_ERRNO(code);
	else if (strcmp(name, "SCMP_ACT_KILL") == 0 ||
		 strcmp(name, "SCMP_ACT_KILL_THREAD") == 0)
		*ret = SCMP_ACT_KILL_THREAD;
	else if (strcmp(name, "SCMP_ACT_KILL_PROCESS") == 0)
		*ret = SCMP_ACT_KILL_PROCESS;
	else if (strcmp(name, "SCMP_ACT_TRAP") == 0)
		*ret = SCMP_ACT_TRAP;
	else if (strcmp(name, "SCMP_ACT_TRACE") == 0)
		*ret = SCMP_ACT_TRACE(code);
	else if (strcmp(name, "SCMP_ACT_LOG") == 0)
		*ret = SCMP_ACT_LOG;
	else if (strcmp(name, "SCMP_ACT_NOTIFY") == 0)
		*ret = SCMP_ACT_NOTIFY;
	else
		return err_set(e, EINVAL, "%s: unknown action '%s'", path,
			       name);
	/* As the specification wants it. */
	if (errno_ret->set && strcmp(name, "SCMP_ACT_ERRNO") != 0 &&
	    strcmp(name, "SCMP_ACT_TRACE") != 0)
		return err_set(e, EINVAL, "%s: '%s' takes no errno", path,
			       name);
	return 0;
}

static int parse_op(const char *name, const char *path, enum scmp_compare *ret,
		    struct err *e)
{
	static const struct {
		const char *name;
		enum scmp_compare op;
	} ops[] = {
		{"SCMP_CMP_NE", SCMP_CMP_NE},
		{"SCMP_CMP_LT", SCMP_CMP_LT},
		{"SCMP_CMP_LE", SCMP_CMP_LE},
		{"SCMP_CMP_EQ", SCMP_CMP_EQ},
		{"SCMP_CMP_GE", SCMP_CMP_GE},
		{"SCMP_CMP_GT", SCMP_CMP_GT},
		{"SCMP_CMP_MASKED_EQ", SCMP_CMP_MASKED_EQ},
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		if (strcmp(name, ops[i].name) == 0) {
			*ret = ops[i].op;
			return 0;
		}
	}
	return err_set(e, EINVAL, "%s.op: unknown operator '%s'", path, name);
}

/* -EINVAL: a call that neither libseccomp nor this file knows. */
static int resolve_call(const char *name)
{
	int nr = seccomp_syscall_resolve_name(name);
	size_t i;

	if (nr != __NR_SCMP_ERROR)
		return nr;
	for (i = 0; i < seccomp_new_calls_n; i++)
		if (strcmp(name, seccomp_new_calls[i].name) == 0)
			return seccomp_new_calls[i].nr;
	return __NR_SCMP_ERROR;
}

struct compile {
	scmp_filter_ctx ctx;
	const struct oci_seccomp *config;
	uint32_t default_action;
	bool notify; /* some call is answered by a listener */
	struct new_rules new;
	struct err *e;
};

/* libseccomp's actions are the kernel's, but for the one that kills a thread.
 * The first rule of a call is the one that counts, as with libseccomp. */
static int add_new_call(struct compile *c, const char *name, int nr,
			uint32_t action, unsigned int n_args)
{
	size_t i;

	if (n_args)
		return err_set(c->e, ENOTSUP,
			       "linux.seccomp: rule for '%s': arguments of a "
			       "call that is so new are not looked at",
			       name);
	for (i = 0; i < c->new.n; i++)
		if (c->new.rules[i].nr == (uint32_t)nr)
			return 0;
	if (c->new.n == NEW_RULES_MAX)
		return err_set(c->e, E2BIG,
			       "linux.seccomp: rule for '%s': too many", name);
	c->new.rules[c->new.n++] = (struct new_rule){(uint32_t)nr, action};
	return 0;
}

static int add_call(struct compile *c, const char *name, uint32_t action,
		    const struct scmp_arg_cmp *args, unsigned int n, bool split)
{
	int nr = resolve_call(name), r = 0;
	unsigned int i;

	if (nr == __NR_SCMP_ERROR)
		return 0; /* of a kernel to come: ENOSYS by the prologue */
	if (nr >= HYB_SECCOMP_FIRST_NEW)
		return add_new_call(c, name, nr, action, n);
	if (action == c->default_action)
		return 0;
	if (!split)
		r = seccomp_rule_add_array(c->ctx, action, nr, n, args);
	for (i = 0; split && r == 0 && i < n; i++)
		r = seccomp_rule_add_array(c->ctx, action, nr, 1, &args[i]);
	/* EEXIST: said twice. EDOM, negative numbers: not of this
	 * architecture. */
	if (r < 0 && r != -EEXIST && r != -EDOM)
		return err_sys(c->e, -r, "linux.seccomp: rule for '%s'", name);
	return 0;
}

static int add_rule(struct compile *c, const struct oci_seccomp_rule *rule,
		    const char *path)
{
	struct scmp_arg_cmp args[6];
	unsigned int seen = 0;
	bool split = false;
	enum scmp_compare op = SCMP_CMP_EQ;
	uint32_t action = 0;
	char place[80];
	size_t i;
	int r;

	snprintf(place, sizeof(place), "%s.action", path);
	r = parse_action(rule->action, &rule->errno_ret, place, &action, c->e);
	if (r < 0)
		return r;
	if (rule->n_args > ARRAY_SIZE(args))
		return err_set(c->e, EINVAL, "%s.args: more than 6", path);
	for (i = 0; i < rule->n_args; i++) {
		snprintf(place, sizeof(place), "%s.args[%zu]", path, i);
		r = parse_op(rule->args[i].op, place, &op, c->e);
		if (r < 0)
			return r;
		args[i] = SCMP_CMP(rule->args[i].index, op, rule->args[i].value,
				   rule->args[i].value_two);
		/* Two conditions on one argument cannot be in one rule of
		 * libseccomp; each then is a rule of its own, any of which
		 * matches (as other runtimes do). */
		split |= seen & (1u << rule->args[i].index);
		seen |= 1u << rule->args[i].index;
	}
	c->notify |= action == SCMP_ACT_NOTIFY;
	for (i = 0; rule->names[i]; i++) {
		r = add_call(c, rule->names[i], action, args,
			     (unsigned int)rule->n_args, split);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_rules(struct compile *c)
{
	char path[48];
	size_t i;
	int r = 0;

	for (i = 0; r == 0 && i < c->config->n_syscalls; i++) {
		snprintf(path, sizeof(path), "linux.seccomp.syscalls[%zu]", i);
		r = add_rule(c, &c->config->syscalls[i], path);
	}
	return r;
}

static int add_architectures(struct compile *c)
{
	char name[32];
	size_t i, j;
	uint32_t arch;
	int r;

	for (i = 0; c->config->architectures && c->config->architectures[i];
	     i++) {
		const char *s = c->config->architectures[i];

		if (strncmp(s, "SCMP_ARCH_", 10) != 0)
			return err_set(c->e, EINVAL,
				       "linux.seccomp.architectures: unknown "
				       "'%s'",
				       s);
		for (j = 0; s[10 + j] && j < sizeof(name) - 1; j++)
			name[j] = (char)(s[10 + j] >= 'A' && s[10 + j] <= 'Z'
						 ? s[10 + j] + 32
						 : s[10 + j]);
		name[j] = '\0';
		arch = seccomp_arch_resolve_name(name);
		if (!arch)
			return err_set(c->e, EINVAL,
				       "linux.seccomp.architectures: unknown "
				       "'%s'",
				       s);
		r = seccomp_arch_add(c->ctx, arch);
		if (r < 0 && r != -EEXIST)
			return err_sys(c->e, -r,
				       "linux.seccomp.architectures: '%s'", s);
	}
	return 0;
}

static int parse_flags(const struct oci_seccomp *config, unsigned int *ret,
		       struct err *e)
{
	static const struct {
		const char *name;
		unsigned int flag;
	} flags[] = {
		{"SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC},
		{"SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG},
		{"SECCOMP_FILTER_FLAG_SPEC_ALLOW",
		 SECCOMP_FILTER_FLAG_SPEC_ALLOW},
		{"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
		 SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV},
	};
	size_t i, j;

	for (i = 0; config->flags && config->flags[i]; i++) {
		for (j = 0; j < ARRAY_SIZE(flags); j++)
			if (strcmp(config->flags[i], flags[j].name) == 0)
				break;
		if (j == ARRAY_SIZE(flags))
			return err_set(e, EINVAL,
				       "linux.seccomp.flags[%zu]: unknown '%s'",
				       i, config->flags[i]);
		*ret |= flags[j].flag;
	}
	return 0;
}

/* Is the kernel able to ask a listener; does the configuration name one? */
static int check_listener(const struct compile *c, unsigned int *flags)
{
	const struct oci_seccomp *config = c->config;
	uint32_t action = SECCOMP_RET_USER_NOTIF;

	if (!c->notify) {
		/* The kernel takes this flag with a listener only. */
		if (*flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
			return err_set(c->e, EINVAL,
				       "linux.seccomp.flags: SECCOMP_FILTER_"
				       "FLAG_WAIT_KILLABLE_RECV without an "
				       "SCMP_ACT_NOTIFY");
		return 0;
	}
	if (!config->listener_path)
		return err_set(c->e, EINVAL,
			       "linux.seccomp.listenerPath: is missing, and "
			       "SCMP_ACT_NOTIFY needs it");
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0)
		return err_sys(c->e, ENOTSUP,
			       "linux.seccomp: SCMP_ACT_NOTIFY: this kernel "
			       "has no listeners");
	/* The kernel does not do both, and there is one thread to filter: the
	 * one that carries the listener away must not be. */
	*flags &= ~(unsigned int)SECCOMP_FILTER_FLAG_TSYNC;
	*flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	return 0;
}

int seccomp_filter_compile(const struct oci_seccomp *config,
			   struct seccomp_filter *ret, struct err *e)
{
	_cleanup_(cleanup_ctx) scmp_filter_ctx ctx = NULL;
	struct compile c = {.config = config, .e = e};
	unsigned int flags = 0;
	int r;

	if (config->listener_metadata && !config->listener_path)
		return err_set(e, EINVAL,
			       "linux.seccomp.listenerMetadata: without "
			       "listenerPath");
	r = parse_flags(config, &flags, e);
	if (r < 0)
		return r;
	r = parse_action(config->default_action, &config->default_errno_ret,
			 "linux.seccomp.defaultAction", &c.default_action, e);
	if (r < 0)
		return r;
	c.notify = c.default_action == SCMP_ACT_NOTIFY;
	ctx = seccomp_init(c.default_action);
	if (!ctx)
		return err_sys(e, ENOMEM, "seccomp");
	c.ctx = ctx;
	r = set_attributes(ctx);
	if (r < 0)
		return err_sys(e, -r, "seccomp");
	r = add_architectures(&c);
	if (r == 0)
		r = add_rules(&c);
	if (r == 0)
		r = check_listener(&c, &flags);
	if (r < 0)
		return r;
	/* A filter that lets through what it does not name lets new calls
	 * through, too; one whose listener decides has it decide on them. */
	c.new.open = c.default_action == SCMP_ACT_ALLOW ||
		     c.default_action == SCMP_ACT_LOG ||
		     c.default_action == SCMP_ACT_NOTIFY;
	r = export_filter(ctx, &c.new, ret, e);
	if (r < 0)
		return r;
	ret->flags = flags;
	ret->listener = c.notify;
	return 0;
}

int seccomp_filter_install(const struct seccomp_filter *f)
{
	struct sock_fprog prog = {.len = f->n, .filter = f->insns};
	long r = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, f->flags, &prog);

	return r < 0 ? -errno : (int)r;
}
