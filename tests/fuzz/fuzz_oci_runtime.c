/* SPDX-License-Identifier: Apache-2.0 */
/* config.json from anybody: what is read must be writable, and read again as
 * the same. */
#include <assert.h>
#include <stdint.h>

#include "common/oci/runtime.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct oci_runtime *c = NULL, *again = NULL;
	struct err e = ERR_INIT;
	json_t *json, *json_again;

	if (oci_runtime_parse_text((const char *)data, size, &c, &e) < 0) {
		assert(e.code > 0 && e.msg[0]);
		return 0;
	}
	json = oci_runtime_format(c);
	assert(json);
	assert(oci_runtime_parse(json, &again, &e) == 0);
	json_again = oci_runtime_format(again);
	assert(json_equal(json, json_again));
	json_decref(json);
	json_decref(json_again);
	oci_runtime_free(c);
	oci_runtime_free(again);
	return 0;
}
