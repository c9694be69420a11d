/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp: default | unconfined | ./profile.json */
#include "host-agent/manifest/container.h"

#include <string.h>

#include "common/base/cleanup.h"
#include "common/oci/seccomp_profile.h"

static bool is_path(const char *s)
{
	size_t n = strlen(s);

	return strchr(s, '/') || (n > 5 && strcmp(s + n - 5, ".json") == 0);
}

static void read_profile(struct reading *r, const struct node *n,
			 struct container_draft *d)
{
	_cleanup_free_ char *text = NULL, *compact = NULL;
	struct err e = ERR_INIT;
	json_t *profile = NULL;
	const char *copy;
	size_t len = 0;

	if (!read_file(r, n, n->text, &text, &len) || !text)
		return;
	if (seccomp_profile_parse(text, len, &profile, &e) < 0) {
		node_error(r, n, "%s: %s", node_show(r, n),
			   diag_message(&r->diags, e.msg));
		return;
	}
	compact = model_text(profile);
	if (!compact) {
		r->oom = true;
		return;
	}
	copy = read_strdup(r, compact);
	if (copy)
		d->m.seccomp = copy;
}

void seccomp_read(struct reading *r, const struct node *n, void *draft)
{
	const char *word;

	if (!read_text(r, n, &word) || strcmp(word, "default") == 0)
		return;
	if (strcmp(word, "unconfined") == 0) {
		node_error(r, n,
			   "'seccomp: unconfined' needs the operator's "
			   "permission, and there is no policy that gives it; "
			   "write a profile that allows what the program "
			   "needs");
		return;
	}
	if (!is_path(word)) {
		node_error(r, n,
			   "'%s' must be default, unconfined or the path of a "
			   "profile such as ./profile.json; it is %s",
			   r->key, node_show(r, n));
		return;
	}
	read_profile(r, n, draft);
}
