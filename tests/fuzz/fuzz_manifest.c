/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a manifest. The first byte tells how env_files are answered:
 * with an error, or with the text itself. What is valid must survive being
 * stored, and be nothing to do against itself.
 */
#include "common/base/cleanup.h"
#include "host-agent/manifest/manifest.h"
#include "host-agent/plan/plan.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
	const char *text;
	size_t len;
	bool answers;
};

static int read_env(void *arg, const char *path, char **ret, size_t *ret_len,
		    struct err *e)
{
	const struct input *in = arg;
	char *copy;

	if (!in->answers)
		return err_set(e, ENOENT, "%s", path);
	copy = malloc(in->len + 1);
	if (!copy)
		return -ENOMEM;
	memcpy(copy, in->text, in->len);
	*ret = copy;
	*ret_len = in->len;
	return 0;
}

static void check_plan(const struct model_stack *s)
{
	struct observed_stack nothing = {NULL, 0};
	struct plan p;

	if (plan_make(s, &nothing, &p) < 0)
		return;
	if (p.n <= s->n_vms)
		abort();
	plan_done(&p);
}

static void check_stack(const struct model_stack *s)
{
	_cleanup_model_stack_ struct model_stack *again = NULL;
	struct err e = ERR_INIT;
	json_t *a, *b;

	a = model_stack_to_json(s);
	if (!a)
		abort();
	if (model_stack_from_json(a, &again, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		abort();
	}
	b = model_stack_to_json(again);
	if (!json_equal(a, b))
		abort();
	json_decref(a);
	json_decref(b);
	check_plan(s);
}

/* Errors go to terminals. */
static void check_errors(const struct manifest *m)
{
	_cleanup_buf_ struct buf out = BUF_INIT;
	const unsigned char *p;

	if (m->n_diagnostics == 0 || m->n_stacks > 0 ||
	    manifest_render_diagnostics(m, &out) < 0)
		abort();
	for (p = (const unsigned char *)buf_str(&out); *p; p++)
		if ((*p < ' ' && *p != '\n') || *p == 0x7f)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_manifest_ struct manifest m = {0};
	struct input in = {"", 0, false};
	struct manifest_reader reader = {.folder = "/srv/app",
					 .read = read_env,
					 .read_file = read_env,
					 .arg = &in};
	size_t i;
	int r;

	if (size > 0) {
		in.answers = data[0] & 1;
		in.text = (const char *)data + 1;
		in.len = size - 1;
	}
	r = manifest_parse("fuzz", in.text, in.len, &reader, &m);
	if (r == -EINVAL)
		check_errors(&m);
	for (i = 0; r == 0 && i < m.n_stacks; i++)
		check_stack(m.stacks[i]);
	return 0;
}
