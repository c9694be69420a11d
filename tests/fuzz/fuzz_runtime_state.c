/* SPDX-License-Identifier: Apache-2.0 */
/* hyb-runtime's state.json, cut or changed anywhere: what is taken is harmless
 * to act upon. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "guest-agent/runtime/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct store_state s = {.id = NULL};
	struct err e = ERR_INIT;

	if (store_parse((const char *)data, size, &s, &e) < 0) {
		assert(e.code > 0 && e.msg[0] && !s.id);
		return 0;
	}
	assert(container_id_is_valid(s.id));
	assert(s.pid > 0 && s.bundle[0] == '/');
	assert(!s.cgroup ||
	       (strcmp(s.cgroup, "..") != 0 && !strstr(s.cgroup, "/../") &&
		strncmp(s.cgroup, "../", 3) != 0));
	store_state_done(&s);
	return 0;
}
