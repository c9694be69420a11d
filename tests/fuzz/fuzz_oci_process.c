/* SPDX-License-Identifier: Apache-2.0 */
/* process.json and what update -r takes, from anybody: read and checked, or
 * refused with the JSON path. The first byte says which. */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "guest-agent/container/internal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char base[] = "{\"ociVersion\":\"1.2.0\",\"linux\":"
			   "{\"namespaces\":[{\"type\":\"mount\"}]}}";

static int process(const char *text, size_t len, struct err *e)
{
	struct oci_runtime *c = NULL;
	struct oci_process *p;
	struct arena *a = NULL;
	int r;

	r = oci_process_parse_text(text, len, &a, &p, e);
	if (r < 0)
		return r;
	r = oci_runtime_parse_text(base, strlen(base), &c, e);
	assert(r == 0);
	c->process = p;
	r = config_check(c, false, e);
	if (r < 0)
		assert(strncmp(e->msg, "process.", 8) == 0);
	oci_runtime_free(c);
	arena_free(a);
	return r;
}

static int resources(const char *text, size_t len, struct err *e)
{
	struct oci_resources *res;
	struct arena *a = NULL;
	int r;

	r = oci_resources_parse_text(text, len, &a, &res, e);
	if (r < 0)
		return r;
	r = resources_check(res, "resources", e);
	if (r < 0)
		assert(strncmp(e->msg, "resources.", 10) == 0);
	arena_free(a);
	return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	const char *text = (const char *)data + 1;
	int r;

	if (size < 1)
		return 0;
	r = data[0] == 'r' ? resources(text, size - 1, &e)
			   : process(text, size - 1, &e);
	if (r < 0)
		assert(e.code > 0 && e.msg[0]);
	return 0;
}
