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

/* At least one image. An image of no layers is no root file system: where
 * there are others it is left out, and skipped has a sentence about it. */
struct image_found_set {
	struct image_found *list;
	size_t n;
	const char **skipped; /* NULL-terminated */
	size_t n_skipped;
};

/* source_name: what to call an image that has only a tag ("/x/web.tar" makes
 * "web:TAG"); may be NULL. What *ret points to lives in the arena. */
int image_found_read(struct image_source *s, const char *source_name,
		     struct arena *a, struct image_found_set *ret,
		     struct err *e);

/* The manifest that an image has whose layers are stored as they are: a
 * docker-archive and an imported tree bring none, and an image's digest is
 * that of a manifest. diff_ids, sizes and the configuration's digest are set;
 * x->digest is filled. */
int image_found_make_digest(struct image_found *x, struct err *e);

/* Of an index's images the one for this host, or NULL. */
const struct oci_descriptor *image_found_choose(const struct oci_index *index);

/* This host's architecture in OCI's spelling. */
const char *image_host_architecture(void);

#endif
