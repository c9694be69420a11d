/* SPDX-License-Identifier: Apache-2.0 */
/* A container, a VM and a stack while they are read: the model, and where in
 * the text it came from, which checks across the whole stack point at. */
#ifndef HYB_HOST_AGENT_MANIFEST_CONTAINER_H
#define HYB_HOST_AGENT_MANIFEST_CONTAINER_H

#include "host-agent/manifest/fields.h"
#include "host-agent/model/tenant.h"

/* Published ports, a container's or a VM's. */
struct ports_draft {
	const struct model_port *v;
	const struct node **at; /* of each */
	size_t n;
};

struct container_draft {
	struct model_container m;
	const struct node *at; /* its name */
	const struct node *cpus, *memory;
	const struct node *environment, *env_file;
	struct ports_draft ports;      /* = m.ports */
	struct model_dependency *deps; /* = m.depends_on */
	const struct node **dep_at;
	struct model_mount *mounts; /* = m.mounts */
	const struct node **mount_at;
	struct model_file *files; /* = m.files */
	const struct node **file_at;
	const struct node *shm_size, *layer_size;
	const char *vm; /* the name of its VM */
};

struct vm_draft {
	struct model_vm m;
	const struct node *at;
	const struct node *memory;
	struct ports_draft ports; /* = m.ports */
	struct container_draft *containers;
	size_t n;
};

struct stack_draft {
	struct model_stack *m;
	const struct node *root;
	struct vm_draft *vms;
	size_t n;
	struct model_volume *volumes; /* = m->volumes */
	const struct node **volume_at;
	struct model_source *secrets; /* = m->secrets */
	struct model_source *configs;
	size_t n_configs;
};

/* container.c: d->m.name, d->at and d->vm are set by the caller. */
void container_read(struct reading *r, const struct node *map,
		    struct container_draft *d);

/* environment.c */
void environment_read(struct reading *r, struct container_draft *d);
/* ports.c */
void ports_read(struct reading *r, const struct node *n,
		struct ports_draft *ret);
/* mounts.c: a container's volumes; a stack's; what only the whole can tell. */
void mounts_read(struct reading *r, const struct node *n, void *draft);
void volumes_read(struct reading *r, const struct node *n, void *draft);
void mounts_crosscheck(struct reading *r, const struct stack_draft *s);
/* seccomp.c */
void seccomp_read(struct reading *r, const struct node *n, void *draft);
/* files.c: secrets and configs, of the stack and of containers. */
void secrets_read(struct reading *r, const struct node *n, void *draft);
void configs_read(struct reading *r, const struct node *n, void *draft);
void container_secrets_read(struct reading *r, const struct node *n,
			    void *draft);
void container_configs_read(struct reading *r, const struct node *n,
			    void *draft);
void files_crosscheck(struct reading *r, struct stack_draft *s);
/* health.c */
void healthcheck_read(struct reading *r, const struct node *n, void *draft);
void readiness_read(struct reading *r, const struct node *n, void *draft);
/* depends.c */
void depends_read(struct reading *r, const struct node *n, void *draft);

/* crosscheck.c: one stack alone; then all of the file together (two listeners
 * on one address, two stacks of one name). */
void crosscheck_stack(struct reading *r, struct stack_draft *s);
void crosscheck_file(struct reading *r, struct stack_draft *const *stacks,
		     size_t n);

/* stack.c: a document. NULL when it is nothing that becomes a stack; else a
 * draft, its model in r->arena. */
struct stack_draft *stack_read(struct reading *r, const struct node *root);
/* The value of `hyb`. */
void version_read(struct reading *r, const struct node *n, void *out);
/* Says the document that it is one of a tenant's? */
bool kind_is_tenant(const struct node *root);

/* tenant.c: the same of a tenant, in r->arena. */
struct model_tenant *tenant_read(struct reading *r, const struct node *root);

#endif
