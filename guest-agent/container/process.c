/* SPDX-License-Identifier: Apache-2.0 */
/* The process of the configuration, prepared for the child. */
#include "guest-agent/container/internal.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "guest-agent/container/user.h"

#define DEFAULT_PATH \
	"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static int no_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "process");
}

/* ------------------------------------------------------------- environment */

static size_t count(const char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

static bool same_name(const char *a, const char *b)
{
	size_t n = strcspn(a, "=");

	return strncmp(a, b, n) == 0 && (b[n] == '=' || b[n] == '\0');
}

const char *env_get(char *const *env, const char *name)
{
	size_t i;

	for (i = 0; env && env[i]; i++)
		if (same_name(name, env[i]) && env[i][strlen(name)] == '=')
			return env[i] + strlen(name) + 1;
	return NULL;
}

/* Copies base and more, later ones in the place of earlier ones of the same
 * name. Two free slots stay at the end for what is added after. */
char **plan_env(struct arena *a, const char *const *base,
		const char *const *more)
{
	size_t n_base = count(base), n_more = count(more), n = 0, i, j;
	char **env = arena_alloc(a, n_base + n_more + 3, sizeof(*env));
	const char *item;

	if (!env)
		return NULL;
	for (i = 0; i < n_base + n_more; i++) {
		item = i < n_base ? base[i] : more[i - n_base];
		for (j = 0; i >= n_base && j < n; j++)
			if (same_name(item, env[j]))
				break;
		if (i < n_base)
			j = n;
		env[j] = arena_strdup(a, item);
		if (!env[j])
			return NULL;
		if (j == n)
			n++;
	}
	return env;
}

static int env_add(struct plan *p, const char *name, const char *value,
		   struct err *e)
{
	char **env = p->process.envp;
	size_t n = count((const char *const *)env);

	if (env_get(env, name))
		return 0;
	env[n] = arena_printf(p->arena, "%s=%s", name, value);
	return env[n] ? 0 : no_memory(e);
}

int plan_home(struct plan *p, int rootfd, struct err *e)
{
	char home[256] = "";

	if (env_get(p->process.envp, "HOME"))
		return 0;
	p->home_added = true;
	user_find_home(rootfd, p->process.uid, home, sizeof(home));
	return env_add(p, "HOME", home[0] ? home : "/", e);
}

/* ------------------------------------------------------------- the program */

/* Where args[0] is looked for: as it is when it has a slash, else in every
 * folder of PATH (an empty one is the current folder, as in a shell). */
int plan_candidates(struct plan *p, bool search, struct err *e)
{
	struct plan_process *pp = &p->process;
	const char *name = pp->argv[0], *path, *end;
	size_t n = 0;

	pp->candidates = arena_alloc(p->arena, HYB_PATH_DIRS_MAX + 1,
				     sizeof(*pp->candidates));
	if (!pp->candidates)
		return no_memory(e);
	if (!name[0])
		return err_set(e, EINVAL, "process.args[0]: must not be empty");
	if (!search || strchr(name, '/')) {
		pp->candidates[0] = pp->argv[0];
		return 0;
	}
	path = env_get(pp->envp, "PATH");
	if (!path)
		path = DEFAULT_PATH;
	while (n < HYB_PATH_DIRS_MAX) {
		end = path + strcspn(path, ":");
		pp->candidates[n] =
			arena_printf(p->arena, "%.*s%s%s", (int)(end - path),
				     path, end == path ? "./" : "/", name);
		if (!pp->candidates[n++])
			return no_memory(e);
		if (!*end)
			break;
		path = end + 1;
	}
	return 0;
}

static int plan_args(struct create *cr, struct err *e)
{
	const struct oci_process *op = cr->config->process;
	struct plan *p = cr->plan;

	p->process.argv = arena_strv(p->arena, op->args);
	if (!p->process.argv)
		return no_memory(e);
	p->process.envp = plan_env(p->arena, op->env, cr->spec->env);
	if (!p->process.envp)
		return no_memory(e);
	p->process.cwd = plan_strdup(p, op->cwd);
	return p->process.cwd ? 0 : no_memory(e);
}

/* ------------------------------------------------------------------- whose */

static int set_groups(struct plan *p, const gid_t *groups, size_t n,
		      struct err *e)
{
	if (n > HYB_GROUPS_MAX)
		return err_set(e, E2BIG,
			       "process.user.additionalGids: more than %d",
			       HYB_GROUPS_MAX);
	p->process.groups = arena_alloc(p->arena, n + 1, sizeof(gid_t));
	if (!p->process.groups)
		return no_memory(e);
	if (n)
		memcpy(p->process.groups, groups, n * sizeof(gid_t));
	p->process.n_groups = n;
	return 0;
}

int plan_user(struct plan *p, int rootfd, const char *text, struct err *e)
{
	_cleanup_free_ struct user *u = malloc(sizeof(*u));
	int r;

	if (!u)
		return no_memory(e);
	r = user_resolve(rootfd, text, u, e);
	if (r < 0)
		return r;
	p->process.uid = u->uid;
	p->process.gid = u->gid;
	return set_groups(p, u->groups, u->n_groups, e);
}

static int plan_ids(struct create *cr, int rootfd, struct err *e)
{
	const struct oci_user *u = &cr->config->process->user;
	struct plan_process *pp = &cr->plan->process;
	const struct container *c = cr->c;
	size_t i;
	int r;

	pp->umask = u->umask.set ? (mode_t)u->umask.value : 0022;
	pp->keep_groups = cr->spec->keep_groups;
	if (cr->spec->user && cr->spec->user[0]) {
		r = plan_user(cr->plan, rootfd, cr->spec->user, e);
	} else {
		pp->uid = u->uid;
		pp->gid = u->gid;
		r = set_groups(cr->plan, u->additional_gids,
			       u->n_additional_gids, e);
	}
	if (r < 0)
		return r;
	if (map_id(c->uids.maps, c->uids.n, pp->uid) < 0 ||
	    map_id(c->gids.maps, c->gids.n, pp->gid) < 0)
		return err_set(e, EINVAL,
			       "process.user: %u:%u has no mapping in the user "
			       "namespace",
			       pp->uid, pp->gid);
	/* Groups of /etc/group may lie outside of the range; those that the
	 * configuration names must not. */
	if (pp->keep_groups)
		pp->n_groups = 0;
	for (i = 0; i < pp->n_groups;) {
		if (map_id(c->gids.maps, c->gids.n, pp->groups[i]) >= 0) {
			i++;
			continue;
		}
		if (!cr->spec->user || !cr->spec->user[0])
			return err_set(e, EINVAL,
				       "process.user.additionalGids: %u has no "
				       "mapping in the user namespace",
				       pp->groups[i]);
		pp->groups[i] = pp->groups[--pp->n_groups];
	}
	return 0;
}

/* ------------------------------------------------------------ capabilities */

void container_warn(struct container *c, const char *fmt, ...)
{
	size_t len = strlen(c->warning);
	va_list ap;

	if (len && len + 2 < sizeof(c->warning)) {
		memcpy(c->warning + len, "; ", 3);
		len += 2;
	}
	va_start(ap, fmt);
	vsnprintf(c->warning + len, sizeof(c->warning) - len, fmt, ap);
	va_end(ap);
}

/* What the kernel does not know cannot be granted. The specification wants no
 * failure for that: newer configurations run on older machines. */
static uint64_t cap_mask(struct container *c, const char *const *list,
			 const char *set, int last)
{
	uint64_t mask = 0;
	size_t i;
	int cap;

	for (i = 0; list && list[i]; i++) {
		cap = caps_parse(list[i]);
		if (cap >= 0 && cap <= last)
			mask |= UINT64_C(1) << cap;
		else
			container_warn(c,
				       "process.capabilities.%s: '%.40s' is "
				       "unknown and left out",
				       set, list[i]);
	}
	return mask;
}

static void parse_caps(struct container *c, const struct oci_capabilities *oc,
		       struct cap_sets *ret, int last)
{
	ret->bounding = cap_mask(c, oc->bounding, "bounding", last);
	ret->effective = cap_mask(c, oc->effective, "effective", last);
	ret->inheritable = cap_mask(c, oc->inheritable, "inheritable", last);
	ret->permitted = cap_mask(c, oc->permitted, "permitted", last);
	ret->ambient = cap_mask(c, oc->ambient, "ambient", last);
}

static void plan_caps(struct create *cr)
{
	const struct oci_capabilities *oc = cr->config->process->capabilities;
	struct plan_process *pp = &cr->plan->process;
	struct cap_sets *sets = &pp->caps;
	uint64_t most = ~caps_forbidden(), asked;

	pp->last_cap = caps_last();
	/* The specification: absent, the process has none. */
	pp->set_caps = true;
	if (oc) {
		parse_caps(cr->c, oc, sets, pp->last_cap);
	} else if (cr->spec->defaults) {
		sets->bounding = sets->effective = sets->permitted =
			caps_default();
	}
	/* The kernel grants no other; `crun spec` writes ambient ones that are
	 * not inheritable, and a runtime should not fail for that. */
	asked = sets->ambient;
	sets->ambient &= sets->permitted & sets->inheritable;
	if (asked != sets->ambient)
		container_warn(cr->c,
			       "process.capabilities.ambient: those that are "
			       "not permitted and inheritable are left out");
	if (!cr->spec->defaults)
		return;
	/* Only uid 0 has any; and some nobody has. */
	sets->bounding &= most;
	sets->effective &= most;
	sets->inheritable &= most;
	sets->permitted &= most;
	sets->ambient &= most;
	cr->plan->root_caps = *sets;
	if (pp->uid != 0)
		memset(sets, 0, sizeof(*sets));
}

/* ------------------------------------------------------------------ limits */

static const struct {
	const char *name;
	int resource;
} rlimit_names[] = {
	{"RLIMIT_AS", RLIMIT_AS},
	{"RLIMIT_CORE", RLIMIT_CORE},
	{"RLIMIT_CPU", RLIMIT_CPU},
	{"RLIMIT_DATA", RLIMIT_DATA},
	{"RLIMIT_FSIZE", RLIMIT_FSIZE},
	{"RLIMIT_LOCKS", RLIMIT_LOCKS},
	{"RLIMIT_MEMLOCK", RLIMIT_MEMLOCK},
	{"RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE},
	{"RLIMIT_NICE", RLIMIT_NICE},
	{"RLIMIT_NOFILE", RLIMIT_NOFILE},
	{"RLIMIT_NPROC", RLIMIT_NPROC},
	{"RLIMIT_RSS", RLIMIT_RSS},
	{"RLIMIT_RTPRIO", RLIMIT_RTPRIO},
	{"RLIMIT_RTTIME", RLIMIT_RTTIME},
	{"RLIMIT_SIGPENDING", RLIMIT_SIGPENDING},
	{"RLIMIT_STACK", RLIMIT_STACK},
};

int rlimit_find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(rlimit_names); i++)
		if (strcmp(rlimit_names[i].name, name) == 0)
			return rlimit_names[i].resource;
	return -EINVAL;
}

/* Where the configuration is silent. What a PID 1 without a service manager
 * inherits from the kernel (1024, at most 4096 files) is too little for servers;
 * core files would fill the scratch. */
static const struct plan_rlimit default_rlimits[] = {
	{RLIMIT_CORE, {0, 0}, false},
	{RLIMIT_NOFILE, {65536, 1048576}, true},
};

static void add_default_rlimits(struct plan_process *pp)
{
	size_t i, j;

	for (i = 0; i < ARRAY_SIZE(default_rlimits); i++) {
		for (j = 0; j < pp->n_rlimits; j++)
			if (pp->rlimits[j].resource ==
			    default_rlimits[i].resource)
				break;
		if (j == pp->n_rlimits)
			pp->rlimits[pp->n_rlimits++] = default_rlimits[i];
	}
}

static int plan_rlimits(struct create *cr, struct err *e)
{
	const struct oci_process *op = cr->config->process;
	struct plan_process *pp = &cr->plan->process;
	size_t i;

	pp->rlimits = arena_alloc(cr->plan->arena,
				  op->n_rlimits + ARRAY_SIZE(default_rlimits),
				  sizeof(*pp->rlimits));
	if (!pp->rlimits)
		return no_memory(e);
	for (i = 0; i < op->n_rlimits; i++) {
		const struct oci_rlimit *r = &op->rlimits[i];

		pp->rlimits[i].resource = rlimit_find(r->type);
		pp->rlimits[i].limit = (struct rlimit64){r->soft, r->hard};
	}
	pp->n_rlimits = i;
	if (cr->spec->defaults)
		add_default_rlimits(pp);
	return 0;
}

static int set_limit(const struct plan_rlimit *l, pid_t pid)
{
	enum __rlimit_resource res = (enum __rlimit_resource)l->resource;
	struct rlimit64 limit = l->limit, own;

	if (prlimit64(pid, res, &limit, NULL) == 0)
		return 0;
	if (errno != EPERM || !l->optional || getrlimit64(res, &own) < 0)
		return -errno;
	if (limit.rlim_max > own.rlim_max)
		limit.rlim_max = own.rlim_max;
	if (limit.rlim_cur > limit.rlim_max)
		limit.rlim_cur = limit.rlim_max;
	return prlimit64(pid, res, &limit, NULL) < 0 ? -errno : 0;
}

int process_set_limits(const struct plan_process *pp, pid_t pid, struct err *e)
{
	size_t i;
	int r;

	for (i = 0; i < pp->n_rlimits; i++) {
		r = set_limit(&pp->rlimits[i], pid);
		if (r < 0)
			return err_sys(e, -r, "process.rlimits: %d",
				       pp->rlimits[i].resource);
	}
	return 0;
}

int process_set_oom_score(const struct plan_process *pp, pid_t pid,
			  struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[48], text[16];
	int r;

	if (!pp->set_oom_score_adj || engine.confined)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	snprintf(text, sizeof(text), "%d", pp->oom_score_adj);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	r = fd < 0 ? -errno : write_full(fd, text, strlen(text));
	return r < 0 ? err_sys(e, -r, "process.oomScoreAdj") : 0;
}

/* The child's own file may be another's to write: it belongs to root of the user
 * namespace once the child is not dumpable. */
int process_take_oom_score(const struct plan_process *pp)
{
	_cleanup_close_ int fd = -1;
	char text[16];

	if (!pp->set_oom_score_adj || !engine.confined)
		return 0;
	snprintf(text, sizeof(text), "%d", pp->oom_score_adj);
	fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	return fd < 0 ? -errno : write_full(fd, text, strlen(text));
}

/* A program that opens /dev/stdout again (nginx's log is such a link) opens
 * the pipe by its inode, which must therefore be its own. */
int process_own_stdio(const struct container *c, const struct plan_process *pp,
		      struct err *e)
{
	int64_t uid = map_id(c->uids.maps, c->uids.n, pp->uid);
	struct stat st;
	int i;

	for (i = 0; i < 3; i++) {
		if (pp->stdio[i] < 0 || fstat(pp->stdio[i], &st) < 0 ||
		    !S_ISFIFO(st.st_mode) || uid < 0 || st.st_uid == (uid_t)uid)
			continue;
		/* A pipe on a file system that is not ours to change: then it
		 * is only not opened again. */
		if (fchown(pp->stdio[i], (uid_t)uid, (gid_t)-1) < 0 &&
		    errno != EPERM && errno != EROFS && errno != EINVAL)
			return err_sys(e, errno, "own the standard streams");
	}
	return 0;
}

/* --------------------------------------------------------------------- all */

static int plan_listener(struct create *cr, struct err *e)
{
	const struct plan_process *pp = &cr->plan->process;
	const struct hook_state state = {.id = cr->spec->id,
					 .status = "creating",
					 .bundle = cr->spec->bundle,
					 .config = cr->config};

	/* The agent waits for no program of its VM. */
	if (cr->spec->defaults)
		return err_set(e, ENOTSUP,
			       "linux.seccomp: SCMP_ACT_NOTIFY: not in a VM's "
			       "container");
	/* While the listener is on its way one thread spins. */
	if (process_is_realtime(pp))
		return err_set(e, ENOTSUP,
			       "linux.seccomp: SCMP_ACT_NOTIFY: not with a "
			       "real-time process.scheduler");
	return notify_plan(cr->plan->arena, cr->config->lx->seccomp, &state,
			   &cr->c->notify, e);
}

static int plan_seccomp(struct create *cr, struct err *e)
{
	const struct oci_linux *lx = cr->config->lx;
	struct plan_process *pp = &cr->plan->process;
	struct container *c = cr->c;
	int r;

	if (!lx || !lx->seccomp) {
		if (cr->spec->defaults)
			pp->seccomp = seccomp_filter_default();
		return 0;
	}
	r = seccomp_filter_compile(lx->seccomp, &c->own_filter, e);
	if (r < 0)
		return r;
	pp->seccomp = &c->own_filter;
	if (cr->spec->defaults)
		pp->floor = seccomp_filter_floor();
	return c->own_filter.listener ? plan_listener(cr, e) : 0;
}

int personality_parse(const struct oci_personality *p, unsigned long *ret,
		      struct err *e)
{
	if (p->flags && p->flags[0])
		return err_set(e, EINVAL,
			       "linux.personality.flags[0]: unknown '%.32s'",
			       p->flags[0]);
	if (strcmp(p->domain, "LINUX") == 0)
		*ret = PER_LINUX;
	else if (strcmp(p->domain, "LINUX32") == 0)
		*ret = PER_LINUX32;
	else
		return err_set(e, EINVAL,
			       "linux.personality.domain: unknown '%.32s'",
			       p->domain);
	return 0;
}

static int plan_affinity(struct create *cr, struct err *e)
{
	const struct oci_cpu_affinity *a =
		cr->config->process->exec_cpu_affinity;
	struct plan_process *pp = &cr->plan->process;

	if (a->initial)
		pp->initial_cpus = plan_strdup(cr->plan, a->initial);
	if (a->final)
		pp->final_cpus = plan_strdup(cr->plan, a->final);
	return (a->initial && !pp->initial_cpus) ||
			       (a->final && !pp->final_cpus)
		       ? no_memory(e)
		       : 0;
}

int plan_process(struct create *cr, int rootfd, struct err *e)
{
	const struct oci_process *op = cr->config->process;
	const struct oci_linux *lx = cr->config->lx;
	struct plan_process *pp = &cr->plan->process;
	int r;

	pp->terminal = op->terminal;
	if (op->console_size) {
		pp->rows = op->console_size->height;
		pp->cols = op->console_size->width;
	}
	pp->reaper = cr->spec->init;
	pp->no_new_privs = op->no_new_privileges || cr->spec->defaults;
	pp->set_oom_score_adj = op->oom_score_adj.set || cr->spec->defaults;
	pp->oom_score_adj = (int)op->oom_score_adj.value;
	memcpy(pp->stdio, cr->spec->stdio, sizeof(pp->stdio));
	pp->preserve = cr->spec->preserve_fds;
	r = plan_args(cr, e);
	if (r == 0)
		r = plan_ids(cr, rootfd, e);
	if (r == 0 && cr->plan->no_setgroups && pp->n_groups)
		r = err_set(e, EPERM,
			    "process.user.additionalGids: setgroups() is "
			    "forbidden in this user namespace, which has but "
			    "its user's own group");
	if (r == 0)
		r = plan_home(cr->plan, rootfd, e);
	if (r == 0 && pp->terminal && cr->spec->defaults)
		r = env_add(cr->plan, "TERM", "xterm", e);
	if (r == 0)
		r = plan_candidates(cr->plan, cr->spec->search_path, e);
	if (r == 0)
		r = plan_rlimits(cr, e);
	if (r == 0 && op->scheduler)
		r = plan_scheduler(cr->plan, op->scheduler, e);
	if (r == 0 && op->io_priority)
		r = io_priority_parse(op->io_priority, &pp->io_priority, e);
	if (r == 0 && op->exec_cpu_affinity)
		r = plan_affinity(cr, e);
	pp->personality = ~0UL;
	if (r == 0 && lx && lx->personality)
		r = personality_parse(lx->personality, &pp->personality, e);
	if (r < 0)
		return r;
	plan_caps(cr);
	return plan_seccomp(cr, e);
}
