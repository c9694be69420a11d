/* SPDX-License-Identifier: Apache-2.0 */
/* The filters, by running them: an interpreter of classic BPF asks every
 * system call number what the compiled programme says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/sys/seccomp.h"

#define EPERM_	(SECCOMP_RET_ERRNO | EPERM)
#define ENOSYS_ (SECCOMP_RET_ERRNO | ENOSYS)

static uint32_t load_word(const struct seccomp_data *d, uint32_t at)
{
	uint32_t v;

	assert_true(at + sizeof(v) <= sizeof(*d));
	memcpy(&v, (const char *)d + at, sizeof(v));
	return v;
}

static bool jump_taken(uint16_t op, uint32_t a, uint32_t k)
{
	switch (op) {
	case BPF_JEQ:
		return a == k;
	case BPF_JGT:
		return a > k;
	case BPF_JGE:
		return a >= k;
	default:
		assert_int_equal(op, BPF_JSET);
		return a & k;
	}
}

static uint32_t run(const struct seccomp_filter *f,
		    const struct seccomp_data *d)
{
	uint32_t a = 0;
	size_t pc;

	for (pc = 0; pc < f->n; pc++) {
		const struct sock_filter *i = &f->insns[pc];

		switch (BPF_CLASS(i->code)) {
		case BPF_LD:
			a = load_word(d, i->k);
			break;
		case BPF_ALU:
			assert_int_equal(BPF_OP(i->code), BPF_AND);
			a &= i->k;
			break;
		case BPF_JMP:
			if (BPF_OP(i->code) == BPF_JA)
				pc += i->k;
			else
				pc += jump_taken(BPF_OP(i->code), a, i->k)
					      ? i->jt
					      : i->jf;
			break;
		default:
			assert_int_equal(BPF_CLASS(i->code), BPF_RET);
			return i->k;
		}
	}
	fail_msg("the programme has no end");
	return 0;
}

static uint32_t ask(const struct seccomp_filter *f, int nr, uint64_t a0)
{
	struct seccomp_data d = {.nr = nr, .arch = AUDIT_ARCH_X86_64};

	d.args[0] = a0;
	return run(f, &d);
}

static const struct seccomp_filter *the_default(void)
{
	return seccomp_filter_default();
}

static void everyday_calls_are_allowed(void **state)
{
	static const int calls[] = {
		SYS_read,   SYS_write, SYS_openat, SYS_execve,
		SYS_mmap,   SYS_futex, SYS_rseq,   SYS_statx,
		SYS_prctl,  SYS_wait4, SYS_chroot, SYS_seccomp,
		SYS_setuid, 439,       452,	   462,
	};
	const struct seccomp_filter *f = the_default();
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (ask(f, calls[i], 0) != SECCOMP_RET_ALLOW)
			fail_msg("call %d is not allowed", calls[i]);
}

static void dangerous_calls_are_refused(void **state)
{
	static const int calls[] = {
		SYS_ptrace,
		SYS_process_vm_readv,
		SYS_process_vm_writev,
		SYS_userfaultfd,
		SYS_io_uring_setup,
		SYS_io_uring_enter,
		SYS_keyctl,
		SYS_add_key,
		SYS_request_key,
		SYS_bpf,
		SYS_perf_event_open,
		SYS_mount,
		SYS_umount2,
		SYS_pivot_root,
		SYS_move_mount,
		SYS_open_tree,
		SYS_fsopen,
		SYS_fsmount,
		SYS_mount_setattr,
		SYS_setns,
		SYS_unshare,
		SYS_name_to_handle_at,
		SYS_open_by_handle_at,
		SYS_fanotify_init,
		SYS_init_module,
		SYS_finit_module,
		SYS_delete_module,
		SYS_kexec_load,
		SYS_kexec_file_load,
		SYS_reboot,
		SYS_swapon,
		SYS_iopl,
		SYS_ioperm,
		SYS_sethostname,
		SYS_settimeofday,
		SYS_clock_settime,
		SYS_pidfd_getfd,
		SYS_kcmp,
		SYS_syslog,
		SYS_quotactl,
		SYS_acct,
		SYS_modify_ldt,
		SYS_vhangup,
		SYS_lookup_dcookie,
	};
	const struct seccomp_filter *f = the_default();
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(calls); i++)
		if (ask(f, calls[i], 0) != EPERM_)
			fail_msg("call %d is not refused", calls[i]);
}

/* Every number has one of three answers, and those of the future one. */
static void every_number_is_decided(void **state)
{
	const struct seccomp_filter *f = the_default();
	int nr, allowed = 0;
	uint32_t r;

	(void)state;
	for (nr = 0; nr < 5000; nr++) {
		r = ask(f, nr, 0);
		allowed += r == SECCOMP_RET_ALLOW;
		if (r != SECCOMP_RET_ALLOW && r != EPERM_ && r != ENOSYS_)
			fail_msg("call %d: %x", nr, r);
		if (nr > 466)
			assert_int_equal(r, ENOSYS_);
	}
	assert_true(allowed > 250 && allowed < 330);
	assert_int_equal(ask(f, 459, 0), ENOSYS_); /* lsm_get_self_attr */
	assert_int_equal(ask(f, SYS_clone3, 0), ENOSYS_);
	assert_int_equal(ask(f, INT32_MAX & ~0x40000000, 0), ENOSYS_);
}

static void other_architectures_are_killed(void **state)
{
	const struct seccomp_filter *f = the_default();
	struct seccomp_data d = {.arch = AUDIT_ARCH_I386};
	int nr;

	(void)state;
	for (nr = 0; nr < 600; nr++) {
		d.nr = nr;
		assert_int_equal(run(f, &d), SECCOMP_RET_KILL_PROCESS);
		assert_int_equal(ask(f, 0x40000000 | nr, 0),
				 SECCOMP_RET_KILL_PROCESS);
	}
	d.arch = 0;
	assert_int_equal(run(f, &d), SECCOMP_RET_KILL_PROCESS);
	/* A call that a tracer has cancelled. */
	assert_int_equal(ask(f, -1, 0), EPERM_);
}

static void sockets_by_family(void **state)
{
	const struct seccomp_filter *f = the_default();
	uint64_t family;

	(void)state;
	for (family = 0; family < 64; family++) {
		bool good = family == AF_UNIX || family == AF_INET ||
			    family == AF_INET6 || family == AF_NETLINK ||
			    family == AF_PACKET;

		assert_int_equal(ask(f, SYS_socket, family),
				 good ? SECCOMP_RET_ALLOW : EPERM_);
		/* The kernel looks at 32 bits only. */
		assert_int_equal(ask(f, SYS_socket, family | 1ULL << 32),
				 EPERM_);
	}
	assert_int_equal(ask(f, SYS_socketpair, AF_UNIX), SECCOMP_RET_ALLOW);
}

static void clone_without_namespaces(void **state)
{
	static const uint64_t namespaces[] = {
		CLONE_NEWNS,   CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC,
		CLONE_NEWUSER, CLONE_NEWPID,	CLONE_NEWNET};
	const struct seccomp_filter *f = the_default();
	size_t i;

	(void)state;
	assert_int_equal(ask(f, SYS_clone, 17), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(f, SYS_clone, CLONE_VM | CLONE_THREAD),
			 SECCOMP_RET_ALLOW);
	for (i = 0; i < ARRAY_SIZE(namespaces); i++)
		assert_int_equal(ask(f, SYS_clone, namespaces[i] | 17), EPERM_);
}

static void some_personalities(void **state)
{
	static const uint64_t good[] = {0, 0x8, 0x20000, 0x20008, UINT32_MAX};
	static const uint64_t bad[] = {0x1, 0x40000, 0x20001, 0x7fffffff};
	const struct seccomp_filter *f = the_default();
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++) {
		assert_int_equal(ask(f, SYS_personality, good[i]),
				 SECCOMP_RET_ALLOW);
		assert_int_equal(ask(f, SYS_personality, good[i] | 1ULL << 32),
				 EPERM_);
	}
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(ask(f, SYS_personality, bad[i]), EPERM_);
}

/* Each instruction is rewritten whenever a process is executed. */
static void the_default_is_short(void **state)
{
	(void)state;
	assert_in_range(the_default()->n, 1, 150);
}

/* ------------------------------------------------------ from configurations */

static int compile(const char *text, struct seccomp_filter *f, struct err *e)
{
	_cleanup_(cleanup_oci_runtime) struct oci_runtime *c = NULL;
	char full[4096];

	snprintf(full, sizeof(full),
		 "{\"ociVersion\":\"1.2.0\",\"linux\":{\"seccomp\":%s}}", text);
	assert_int_equal(oci_runtime_parse_text(full, strlen(full), &c, e), 0);
	return seccomp_filter_compile(c->lx->seccomp, f, e);
}

static void a_profile_is_honoured(void **state)
{
	_cleanup_(seccomp_filter_done) struct seccomp_filter f = {.n = 0};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(
		compile("{\"defaultAction\":\"SCMP_ACT_ERRNO\","
			"\"defaultErrnoRet\":13,"
			"\"flags\":[\"SECCOMP_FILTER_FLAG_LOG\"],"
			"\"syscalls\":["
			"{\"names\":[\"read\",\"nonsense\",\"fchmodat2\"],"
			"\"action\":\"SCMP_ACT_ALLOW\"},"
			"{\"names\":[\"getpid\"],\"action\":"
			"\"SCMP_ACT_KILL_PROCESS\"},"
			"{\"names\":[\"socket\"],\"action\":\"SCMP_ACT_ERRNO\","
			"\"errnoRet\":97,\"args\":[{\"index\":0,\"value\":40,"
			"\"op\":\"SCMP_CMP_EQ\"}]},"
			"{\"names\":[\"close\"],\"action\":\"SCMP_ACT_ALLOW\","
			"\"args\":[{\"index\":0,\"value\":1,"
			"\"op\":\"SCMP_CMP_EQ\"},{\"index\":0,\"value\":2,"
			"\"op\":\"SCMP_CMP_EQ\"}]}]}",
			&f, &e),
		0);
	assert_int_equal(f.flags, SECCOMP_FILTER_FLAG_LOG);
	assert_int_equal(ask(&f, SYS_read, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f, 452, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f, SYS_write, 0), SECCOMP_RET_ERRNO | 13);
	assert_int_equal(ask(&f, SYS_getpid, 0), SECCOMP_RET_KILL_PROCESS);
	assert_int_equal(ask(&f, SYS_socket, 40), SECCOMP_RET_ERRNO | 97);
	assert_int_equal(ask(&f, SYS_socket, 1), SECCOMP_RET_ERRNO | 13);
	/* Two conditions on one argument: either. */
	assert_int_equal(ask(&f, SYS_close, 1), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f, SYS_close, 2), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f, SYS_close, 3), SECCOMP_RET_ERRNO | 13);
	assert_int_equal(ask(&f, 470, 0), ENOSYS_);
}

static void an_open_profile_is_open(void **state)
{
	_cleanup_(seccomp_filter_done) struct seccomp_filter f = {.n = 0};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(compile("{\"defaultAction\":\"SCMP_ACT_ALLOW\","
				 "\"syscalls\":[{\"names\":[\"getcwd\"],"
				 "\"action\":\"SCMP_ACT_ERRNO\"}]}",
				 &f, &e),
			 0);
	assert_int_equal(ask(&f, SYS_getcwd, 0), EPERM_);
	assert_int_equal(ask(&f, SYS_read, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f, 470, 0), SECCOMP_RET_ALLOW);
}

/* getpid is 39 of x86_64 and x32, and 20 of i386. */
static void architectures_that_are_named(void **state)
{
	_cleanup_(seccomp_filter_done) struct seccomp_filter f = {.n = 0};
	struct seccomp_data d = {.nr = 20, .arch = AUDIT_ARCH_I386};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(
		compile("{\"defaultAction\":\"SCMP_ACT_ALLOW\","
			"\"architectures\":[\"SCMP_ARCH_X86_64\","
			"\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],\"syscalls\":["
			"{\"names\":[\"getpid\"],\"action\":"
			"\"SCMP_ACT_ERRNO\",\"errnoRet\":5}]}",
			&f, &e),
		0);
	assert_int_equal(ask(&f, 39, 0), SECCOMP_RET_ERRNO | 5);
	assert_int_equal(ask(&f, 0x40000000 | 39, 0), SECCOMP_RET_ERRNO | 5);
	assert_int_equal(run(&f, &d), SECCOMP_RET_ERRNO | 5);
	d.nr = 39;
	assert_int_equal(run(&f, &d), SECCOMP_RET_ALLOW);
	d.arch = AUDIT_ARCH_AARCH64;
	assert_int_equal(run(&f, &d), SECCOMP_RET_KILL_PROCESS);
}

/* Rules for calls that libseccomp has no name for. */
static void new_calls_have_rules(void **state)
{
	_cleanup_(seccomp_filter_done) struct seccomp_filter f = {.n = 0};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(
		compile("{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":["
			"{\"names\":[\"mseal\"],\"action\":\"SCMP_ACT_KILL\"},"
			"{\"names\":[\"mseal\",\"listns\"],\"action\":"
			"\"SCMP_ACT_ERRNO\",\"errnoRet\":5}]}",
			&f, &e),
		0);
	assert_int_equal(ask(&f, 462, 0), SECCOMP_RET_KILL_THREAD);
	assert_int_equal(ask(&f, 470, 0), SECCOMP_RET_ERRNO | 5);
	assert_int_equal(ask(&f, 463, 0), SECCOMP_RET_ALLOW);
	assert_int_equal(ask(&f, 0x40000000 | 462, 0),
			 SECCOMP_RET_KILL_PROCESS);
}

static void a_listener_is_asked(void **state)
{
	_cleanup_(seccomp_filter_done) struct seccomp_filter f = {.n = 0};
	struct err e = ERR_INIT;

	(void)state;
	assert_int_equal(
		compile("{\"defaultAction\":\"SCMP_ACT_ERRNO\","
			"\"listenerPath\":\"/x\",\"flags\":["
			"\"SECCOMP_FILTER_FLAG_TSYNC\","
			"\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],"
			"\"syscalls\":[{\"names\":[\"mkdir\",\"mseal\"],"
			"\"action\":\"SCMP_ACT_NOTIFY\"}]}",
			&f, &e),
		0);
	assert_true(f.listener);
	assert_int_equal(f.flags,
			 SECCOMP_FILTER_FLAG_NEW_LISTENER |
				 SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	assert_int_equal(ask(&f, SYS_mkdir, 0), SECCOMP_RET_USER_NOTIF);
	assert_int_equal(ask(&f, 462, 0), SECCOMP_RET_USER_NOTIF);
	assert_int_equal(ask(&f, SYS_read, 0), EPERM_);
}

static void bad_profiles_are_refused(void **state)
{
	static const struct {
		const char *text;
		int code;
	} cases[] = {
		{"{\"defaultAction\":\"ALLOW\"}", -EINVAL},
		{"{\"defaultAction\":\"SCMP_ACT_NOTIFY\"}", -EINVAL},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\","
		 "\"listenerMetadata\":\"x\"}",
		 -EINVAL},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\","
		 "\"defaultErrnoRet\":1}",
		 -EINVAL},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":["
		 "\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"]}",
		 -EINVAL},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{"
		 "\"names\":[\"mseal\"],\"action\":\"SCMP_ACT_ERRNO\","
		 "\"args\":[{\"index\":0,\"value\":0,\"op\":"
		 "\"SCMP_CMP_EQ\"}]}]}",
		 -ENOTSUP},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"flags\":[\"x\"]}",
		 -EINVAL},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\","
		 "\"architectures\":[\"SCMP_ARCH_PDP11\"]}",
		 -EINVAL},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\","
		 "\"architectures\":[\"x86\"]}",
		 -EINVAL},
		{"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{"
		 "\"names\":[\"read\"],\"action\":\"SCMP_ACT_ERRNO\","
		 "\"args\":[{\"index\":0,\"value\":0,\"op\":\"==\"}]}]}",
		 -EINVAL},
	};
	struct seccomp_filter f = {.n = 0};
	struct err e;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		err_clear(&e);
		if (compile(cases[i].text, &f, &e) != cases[i].code)
			fail_msg("case %zu: %d %s", i, e.code, e.msg);
		assert_null(f.insns);
		assert_true(strncmp(e.msg, "linux.seccomp", 13) == 0);
	}
}

static void the_floor_holds(void **state)
{
	const struct seccomp_filter *f = seccomp_filter_floor();
	struct seccomp_data d = {.nr = 20, .arch = AUDIT_ARCH_I386};
	int nr;

	(void)state;
	for (nr = 0; nr < 1000; nr++) {
		assert_int_equal(ask(f, nr, AF_VSOCK),
				 nr == SYS_socket ? EPERM_ : SECCOMP_RET_ALLOW);
		assert_int_equal(ask(f, 0x40000000 | nr, 0),
				 SECCOMP_RET_KILL_PROCESS);
	}
	assert_int_equal(ask(f, SYS_socket, AF_ALG), EPERM_);
	assert_int_equal(ask(f, SYS_socket, AF_ALG | 5ULL << 32), EPERM_);
	assert_int_equal(ask(f, SYS_socket, AF_INET), SECCOMP_RET_ALLOW);
	assert_int_equal(run(f, &d), SECCOMP_RET_KILL_PROCESS);
}

/* -------------------------------------------------------------- the table */

#define TABLE "tests/golden/seccomp/default.tsv"
#define PAGE  "docs/seccomp-table.md"

static uint32_t answer_of(const char *word)
{
	static const char by_argument[] = "by argument:";

	if (strncmp(word, by_argument, sizeof(by_argument) - 1) == 0)
		word += sizeof(by_argument) - 1;
	if (strcmp(word, "allowed") == 0)
		return SECCOMP_RET_ALLOW;
	if (strcmp(word, "EPERM") == 0)
		return EPERM_;
	assert_string_equal(word, "ENOSYS");
	return ENOSYS_;
}

/* The page has the row, too, without the answer to arguments of 0. */
static void check_page(const char *page, char *column[5])
{
	char row[512];

	snprintf(row, sizeof(row), "| %s | %s | %.*s | %s |%s%s%s\n", column[0],
		 column[1], (int)strcspn(column[2], ":"), column[2], column[3],
		 column[4][0] ? " " : "", column[4], column[4][0] ? " |" : "");
	if (!strstr(page, row))
		fail_msg(PAGE " lacks %s", row);
}

/* Fills in what the row says; the number, or -1 for the rows of many. */
static int check_row(char *line, const char *page, uint32_t *want)
{
	char *column[5], *end;
	size_t i;
	long nr;

	for (i = 0; i < 5; i++) {
		column[i] = strsep(&line, "\t");
		assert_non_null(column[i]);
	}
	nr = strtol(column[0], &end, 10);
	if (*end)
		return -1;
	/* Different, and not a word about it? */
	if (strncmp(column[2], column[3], strlen(column[3])) != 0)
		assert_true(strlen(column[4]) > 0);
	assert_in_range(nr, 0, 999);
	want[nr] = answer_of(column[2]);
	check_page(page, column);
	return (int)nr;
}

static void the_table_is_true(void **state)
{
	_cleanup_free_ char *text = NULL, *page = NULL;
	const struct seccomp_filter *f = the_default();
	struct err e = ERR_INIT;
	uint32_t want[1000];
	char *rest, *line;
	int nr, rows = 0;
	size_t len;

	(void)state;
	for (nr = 0; nr < 1000; nr++)
		want[nr] = nr < 451 ? EPERM_ : ENOSYS_;
	assert_int_equal(file_read(AT_FDCWD, TABLE, 1 << 20, &text, &len, &e),
			 0);
	assert_int_equal(file_read(AT_FDCWD, PAGE, 1 << 20, &page, &len, &e),
			 0);
	rest = text;
	while ((line = strsep(&rest, "\n")))
		if (line[0] && line[0] != '#')
			rows += check_row(line, page, want) >= 0;
	assert_true(rows > 370);
	for (nr = 0; nr < 1000; nr++)
		if (ask(f, nr, 0) != want[nr])
			fail_msg("call %d: %x, not %x", nr, ask(f, nr, 0),
				 want[nr]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everyday_calls_are_allowed),
		cmocka_unit_test(dangerous_calls_are_refused),
		cmocka_unit_test(every_number_is_decided),
		cmocka_unit_test(other_architectures_are_killed),
		cmocka_unit_test(sockets_by_family),
		cmocka_unit_test(clone_without_namespaces),
		cmocka_unit_test(some_personalities),
		cmocka_unit_test(the_default_is_short),
		cmocka_unit_test(a_profile_is_honoured),
		cmocka_unit_test(an_open_profile_is_open),
		cmocka_unit_test(architectures_that_are_named),
		cmocka_unit_test(new_calls_have_rules),
		cmocka_unit_test(a_listener_is_asked),
		cmocka_unit_test(bad_profiles_are_refused),
		cmocka_unit_test(the_floor_holds),
		cmocka_unit_test(the_table_is_true),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
