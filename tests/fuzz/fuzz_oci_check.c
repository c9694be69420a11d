/* SPDX-License-Identifier: Apache-2.0 */
/* config.json from anybody through all its rules, and its seccomp profile into
 * a filter: jumps stay inside of it and it ends with an answer, as the kernel
 * wants. The first byte: is it for the agent? */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "guest-agent/container/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_filter(const struct seccomp_filter *f)
{
	size_t i;

	assert(f->n > 0);
	for (i = 0; i < f->n; i++) {
		const struct sock_filter *s = &f->insns[i];

		if (BPF_CLASS(s->code) != BPF_JMP)
			continue;
		if (BPF_OP(s->code) == BPF_JA)
			assert(s->k < f->n - i - 1);
		else
			assert(i + 1 + s->jt < f->n && i + 1 + s->jf < f->n);
	}
	assert(BPF_CLASS(f->insns[f->n - 1].code) == BPF_RET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct seccomp_filter f = {.n = 0};
	struct oci_runtime *c = NULL;
	struct err e = ERR_INIT;
	int r;

	if (size < 1 || oci_runtime_parse_text((const char *)data + 1, size - 1,
					       &c, &e) < 0)
		return 0;
	r = config_check(c, data[0] == 'a', &e);
	if (r < 0)
		assert(e.code > 0 && strchr(e.msg, ':'));
	if (c->lx && c->lx->seccomp) {
		r = seccomp_filter_compile(c->lx->seccomp, &f, &e);
		if (r == 0)
			check_filter(&f);
		else
			assert(e.code > 0 && e.msg[0]);
		seccomp_filter_done(&f);
	}
	oci_runtime_free(c);
	return 0;
}
