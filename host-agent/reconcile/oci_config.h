/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container of the model and its image's configuration → the OCI runtime
 * configuration (config.json) that the guest is given. What is left out here
 * (namespaces, mounts, masked paths, seccomp profile, capabilities) the guest
 * closes by its own defaults.
 */
#ifndef HYB_HOST_AGENT_RECONCILE_OCI_CONFIG_H
#define HYB_HOST_AGENT_RECONCILE_OCI_CONFIG_H

#include "host-agent/guest/agent.h"
#include "host-agent/model/model.h"

/* The part of an image's configuration that counts; strings and NULL-ended
 * vectors are borrowed, NULL where the image has none. */
struct image_defaults {
	const char *const *env;
	const char *const *entrypoint;
	const char *const *cmd;
	const char *user;
	const char *working_dir;
	const char *stop_signal;
};

/* The id of a volume that is attached, by its name in the stack. */
typedef int64_t (*volume_id_fn)(void *arg, const char *source);

/* Where the container will be. */
struct oci_place {
	const char *vm_name;
	const char *kernel; /* the guest's release, as it says */
	const char *id;	    /* the container's in the guest */
	volume_id_fn volume_id;
	void *arg;
	/* model_vm_binds(): the tags of the VM's shared folders are by their
	 * numbers. */
	const struct model_bind *binds;
	size_t n_binds;
	/* Of the container's mounts, in their order: where in the guest an
	 * anonymous volume's folder is. */
	const char (*folders)[AGENT_PLACE_MAX];
};

/* The number of a container's bind; n: there is none. */
size_t oci_config_find_bind(const struct model_bind *binds, size_t n,
			    const char *container, const struct model_mount *m);

/* New reference. -EINVAL: there is nothing to run (no command anywhere). */
int oci_config_make(const struct model_container *c,
		    const struct image_defaults *image,
		    const struct oci_place *place, json_t **ret, struct err *e);

/* The text of the container's /etc/hosts, without which not even "localhost" has
 * an address: the caller frees it. NULL: it has none, for the manifest mounts
 * something there, or no memory. It is mounted as the file that comes behind
 * the model's. */
char *oci_config_hosts(const struct model_container *c, const char *vm_name);

/* The signal that ends it: the manifest's, the image's, SIGTERM. */
int oci_config_stop_signal(const struct model_container *c,
			   const struct image_defaults *image);

#endif
