/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The images that a source holds: documents read, digests of all of them
 * checked, the platform chosen, layers located. Nothing of a layer has been
 * read yet.
 */
#ifndef HYB_HOST_IMAGE_IMAGE_FOUND_H
#define HYB_HOST_IMAGE_IMAGE_FOUND_H

#include "common/base/arena.h"
#include "host-agent/image/image_source.h"

struct image_found {
	char digest[72]; /* of the manifest, or of the one we would write */
	char config_digest[72];
	const char *config_text;
	size_t config_len;
	struct oci_image_config config;
	const char **names; /* canonical, NULL-terminated, perhaps none */
	struct image_child_layer *layers;
	size_t n_layers;
	uint64_t size; /* of all layers as they are stored */
};

/* source_name: what to call an image that has only a tag ("/x/web.tar" makes
 * "web:TAG"); may be NULL. *ret lives in the arena. */
int image_found_read(struct image_source *s, const char *source_name,
		     struct arena *a, struct image_found **ret, size_t *ret_n,
		     struct err *e);

/* This host's architecture in OCI's spelling. */
const char *image_host_architecture(void);

#endif
