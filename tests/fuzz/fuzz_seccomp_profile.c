/* SPDX-License-Identifier: Apache-2.0 */
/* A Docker-format profile from anybody: what is taken converts, on any kernel
 * and with any capabilities, to what the runtime configuration's reader takes,
 * and the filter's compiler takes or refuses with a word. */
#include <assert.h>
#include <stdint.h>

#include "common/oci/runtime.h"
#include "common/oci/seccomp_profile.h"
#include "guest-agent/sys/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void convert(const json_t *profile, const struct seccomp_target *t)
{
	json_t *lx = json_pack("{so}", "seccomp",
			       seccomp_profile_convert(profile, t));
	json_t *config =
		json_pack("{ss so}", "ociVersion", "1.2.0", "linux", lx);
	struct seccomp_filter f = {.n = 0};
	struct oci_runtime *c = NULL;
	struct err e = ERR_INIT;

	assert(config);
	assert(oci_runtime_parse(config, &c, &e) == 0);
	if (seccomp_filter_compile(c->lx->seccomp, &f, &e) < 0)
		assert(e.code > 0 && e.msg[0]);
	seccomp_filter_done(&f);
	oci_runtime_free(c);
	json_decref(config);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const caps[] = {"CAP_SYS_ADMIN", "CAP_CHOWN", NULL};
	const struct seccomp_target old = {.kernel = {0, 0}};
	const struct seccomp_target new = {.caps = caps, .kernel = {6, 12}};
	struct err e = ERR_INIT;
	json_t *profile = NULL;

	if (seccomp_profile_parse((const char *)data, size, &profile, &e) < 0) {
		assert(e.code > 0 && e.msg[0]);
		return 0;
	}
	convert(profile, &old);
	convert(profile, &new);
	json_decref(profile);
	return 0;
}
