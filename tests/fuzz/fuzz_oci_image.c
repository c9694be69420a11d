/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses the kind of document. */
#include "common/oci/image.h"
#include "host-agent/image/image_ref.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void reference(const char *text, size_t len)
{
	char *copy = strndup(text, len);
	struct err e = ERR_INIT;
	struct image_ref r, again;

	/* The canonical form is the canonical form of itself, and so is what
	 * is shown to people. */
	if (image_ref_parse(copy, &r, &e) == 0) {
		assert(image_ref_parse(r.full, &again, &e) == 0);
		assert(strcmp(r.full, again.full) == 0);
		assert(image_ref_parse(image_ref_familiar(r.full), &again,
				       &e) == 0);
		assert(strcmp(r.full, again.full) == 0);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct err e = ERR_INIT;
	struct arena *a;
	struct oci_index index;
	struct oci_manifest manifest;
	struct oci_image_config config;
	struct docker_image *docker;
	size_t n;

	if (size < 1)
		return 0;
	a = arena_new(0);
	size--;
	switch (data[0] % 5) {
	case 0:
		oci_index_parse(text, size, a, &index, &e);
		break;
	case 1:
		oci_manifest_parse(text, size, a, &manifest, &e);
		break;
	case 2:
		oci_image_config_parse(text, size, a, &config, &e);
		break;
	case 3:
		docker_manifest_parse(text, size, a, &docker, &n, &e);
		break;
	default:
		reference(text, size);
	}
	arena_free(a);
	return 0;
}
