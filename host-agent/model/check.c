/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/model/check.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/parse.h"
#include "common/oci/image.h"
#include "common/oci/seccomp_profile.h"
#include "host-agent/model/health.h"

#define LOWER	 "abcdefghijklmnopqrstuvwxyz"
#define UPPER	 "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS	 "0123456789"
#define ALPHANUM LOWER UPPER DIGITS

const char *check_name(const char *s)
{
	if (name_is_valid(s))
		return NULL;
	return "1 to 48 characters of a-z, 0-9 and '-', beginning and ending "
	       "with a letter or digit";
}

/* One component of a repository's path: runs of [a-z0-9] joined by ".", "_",
 * "__" or any number of "-". */
static bool is_path_component(const char *s, size_t len)
{
	const char *end = s + len;
	size_t run, sep;

	for (;;) {
		run = strspn(s, LOWER DIGITS);
		if (run == 0 || s + run > end)
			return false;
		s += run;
		if (s == end)
			return true;
		sep = strspn(s, "-");
		if (sep == 0)
			sep = *s == '.' ? 1 : strspn(s, "_");
		if (sep == 0 || (*s == '_' && sep > 2))
			return false;
		s += sep;
	}
}

/* HOST[:PORT] of a registry; an IPv6 address stands in brackets. */
static bool is_registry(const char *s, size_t len)
{
	char host[256], *colon;
	uint16_t port;
	size_t n;

	if (len == 0 || len >= sizeof(host))
		return false;
	memcpy(host, s, len);
	host[len] = '\0';
	if (host[0] == '[') {
		n = strspn(host + 1, DIGITS "abcdefABCDEF:.");
		if (n < 2 || host[n + 1] != ']')
			return false;
		colon = host + n + 2;
		return !*colon ||
		       (*colon == ':' && parse_port(colon + 1, &port) == 0);
	}
	colon = strchr(host, ':');
	if (colon) {
		*colon = '\0';
		if (parse_port(colon + 1, &port) < 0)
			return false;
	}
	n = strlen(host);
	return n > 0 && strspn(host, ALPHANUM ".-") == n && host[0] != '.' &&
	       host[0] != '-' && host[n - 1] != '.' && host[n - 1] != '-' &&
	       !strstr(host, "..");
}

/* Docker's rule for telling "host/name" from "user/name". */
static bool looks_like_registry(const char *s, size_t len)
{
	return memchr(s, '.', len) || memchr(s, ':', len) ||
	       (len == 9 && memcmp(s, "localhost", 9) == 0);
}

static bool is_repository(const char *s, size_t len)
{
	const char *slash = memchr(s, '/', len), *end = s + len;

	if (len == 0 || len > 255)
		return false;
	if (slash && looks_like_registry(s, (size_t)(slash - s))) {
		if (!is_registry(s, (size_t)(slash - s)))
			return false;
		s = slash + 1;
	}
	for (;;) {
		slash = memchr(s, '/', (size_t)(end - s));
		if (!is_path_component(s, (size_t)((slash ? slash : end) - s)))
			return false;
		if (!slash)
			return true;
		s = slash + 1;
	}
}

const char *check_image(const char *s)
{
	static const char why[] =
		"an image reference: [REGISTRY/]NAME[:TAG][@sha256:DIGEST], "
		"the name in lower case";
	const char *at = strchr(s, '@'), *end = at ? at : s + strlen(s);
	const char *tag = NULL, *p;
	size_t n;

	if (at) {
		if (strncmp(at, "@sha256:", 8) != 0)
			return why;
		if (strspn(at + 8, DIGITS "abcdef") != 64 || at[8 + 64])
			return why;
	}
	/* A colon behind the last slash begins the tag; one before it is the
	 * registry's port. */
	for (p = s; p < end; p++) {
		if (*p == ':')
			tag = p;
		else if (*p == '/')
			tag = NULL;
	}
	if (tag) {
		n = strspn(tag + 1, ALPHANUM "_.-");
		if (n < 1 || n > 128 || tag + 1 + n != end ||
		    strchr(".-", tag[1]))
			return why;
	}
	return is_repository(s, (size_t)((tag ? tag : end) - s)) ? NULL : why;
}

static bool is_user_part(const char *s, size_t len)
{
	char part[33];
	uint32_t id;

	if (len == 0 || len >= sizeof(part))
		return false;
	memcpy(part, s, len);
	part[len] = '\0';
	if (strchr(DIGITS, part[0]))
		return parse_uid(part, &id) == 0;
	return strchr(LOWER UPPER "_", part[0]) &&
	       strspn(part, ALPHANUM "_.-") == len;
}

const char *check_user(const char *s)
{
	const char *colon = strchr(s, ':');
	size_t n = colon ? (size_t)(colon - s) : strlen(s);

	if (is_user_part(s, n) &&
	    (!colon || is_user_part(colon + 1, strlen(colon + 1))))
		return NULL;
	return "USER or USER:GROUP, each a name or a number from 0 to "
	       "2147483647";
}

const char *check_working_dir(const char *s)
{
	const char *p = s, *end;

	if (*s != '/' || strlen(s) > 4095)
		return "an absolute path of at most 4095 bytes";
	for (; *p; p = end) {
		p += strspn(p, "/");
		end = p + strcspn(p, "/");
		if (end - p == 2 && memcmp(p, "..", 2) == 0)
			return "a path without '..'";
	}
	return NULL;
}

const char *check_hostname(const char *s)
{
	static const char why[] =
		"a host name: letters, digits and '-', in parts of at most 63 "
		"characters joined by '.', 64 in all";
	const char *p = s;
	size_t n;

	if (strlen(s) > 64)
		return why;
	for (;;) {
		n = strspn(p, ALPHANUM "-");
		if (n < 1 || n > 63 || p[0] == '-' || p[n - 1] == '-')
			return why;
		p += n;
		if (!*p)
			return NULL;
		if (*p++ != '.')
			return why;
	}
}

const char *check_env_name(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		if ((unsigned char)s[i] <= ' ' || s[i] == '=' || s[i] == 0x7f)
			return "a name without spaces, control characters or "
			       "'='";
	return len > 0 ? NULL : "a name that is not empty";
}

static bool is_listen_v4(const struct in_addr *a)
{
	uint32_t ip = ntohl(a->s_addr);

	/* not multicast, reserved or broadcast; of 0/8 only "every address" */
	return ip >> 28 < 14 && (ip >> 24 != 0 || ip == 0);
}

const char *check_host_ip(const char *s, char *out)
{
	struct in6_addr v6;
	struct in_addr v4;

	if (inet_pton(AF_INET, s, &v4) == 1) {
		if (!is_listen_v4(&v4))
			return "an address that one can listen on";
		inet_ntop(AF_INET, &v4, out, HYB_IP_MAX);
		return NULL;
	}
	if (inet_pton(AF_INET6, s, &v6) == 1) {
		if (IN6_IS_ADDR_V4MAPPED(&v6) || IN6_IS_ADDR_MULTICAST(&v6))
			return "an address that one can listen on";
		inet_ntop(AF_INET6, &v6, out, HYB_IP_MAX);
		return NULL;
	}
	return "a numeric IPv4 or IPv6 address";
}

bool check_ips_overlap(const char *a, const char *b)
{
	bool a6 = strchr(a, ':'), b6 = strchr(b, ':');
	const char *any = a6 ? "::" : "0.0.0.0";

	if (a6 != b6)
		return false; /* a v6 listener is v6 only */
	return strcmp(a, b) == 0 || strcmp(a, any) == 0 || strcmp(b, any) == 0;
}

static int check_text(const char *what, const char *s,
		      const char *(*check)(const char *), struct err *e)
{
	const char *why = check(s);
	char shown[64];

	if (!why)
		return 0;
	return err_set(e, EINVAL, "%s '%s' must be %s", what,
		       text_escape(s, shown, sizeof(shown)), why);
}

static int check_restart(const struct restart_policy *p, enum restart_kind max,
			 struct err *e)
{
	if (p->kind > max || p->max > HYB_RESTART_MAX ||
	    (p->max && p->kind != RESTART_ON_FAILURE))
		return err_set(e, EINVAL, "restart is out of range");
	return 0;
}

static int check_environment(const struct model_container *c, struct err *e)
{
	const char *const *v;
	const char *equals;

	for (v = c->environment; *v; v++) {
		equals = strchr(*v, '=');
		if (!equals || check_env_name(*v, (size_t)(equals - *v)) ||
		    strlen(*v) > HYB_ENV_ENTRY_MAX)
			return err_set(e, EINVAL, "environment is not valid");
	}
	return 0;
}

static int check_ports(const struct model_port *p, size_t n, struct err *e)
{
	char ip[HYB_IP_MAX];
	size_t i;

	for (i = 0; i < n; i++) {
		if (!p[i].published || !p[i].target ||
		    check_host_ip(p[i].host_ip, ip) ||
		    strcmp(ip, p[i].host_ip) != 0)
			return err_set(e, EINVAL, "ports is not valid");
	}
	return 0;
}

static int check_limits(const struct model_vm *vm,
			const struct model_container *c, struct err *e)
{
	const struct model_limits *l = &c->limits;

	if (l->cpus_milli && (l->cpus_milli < HYB_LIMIT_CPUS_MILLI_MIN ||
			      l->cpus_milli > vm->vcpus * 1000))
		return err_set(e, EINVAL, "limits.cpus is out of range");
	if (l->memory && (l->memory < HYB_LIMIT_MEMORY_MIN ||
			  l->memory > HYB_LIMIT_MEMORY_MAX))
		return err_set(e, EINVAL, "limits.memory is out of range");
	if (l->pids > HYB_LIMIT_PIDS_MAX)
		return err_set(e, EINVAL, "limits.pids is out of range");
	return 0;
}

static int check_seccomp(const struct model_container *c, struct err *e)
{
	json_t *profile = NULL;
	int r;

	if (!*c->seccomp)
		return 0;
	r = seccomp_profile_parse(c->seccomp, strlen(c->seccomp), &profile, e);
	json_decref(profile);
	return r < 0 ? err_wrap(e, "seccomp") : 0;
}

static int check_container(const struct model_vm *vm,
			   const struct model_container *c, struct err *e)
{
	int r;

	r = check_text("name", c->name, check_name, e);
	if (r == 0)
		r = check_text("image", c->image, check_image, e);
	if (r == 0 && c->digest && *c->digest &&
	    !oci_digest_is_valid(c->digest))
		r = err_set(e, EINVAL, "digest is not valid");
	if (r == 0 && *c->user)
		r = check_text("user", c->user, check_user, e);
	if (r == 0 && *c->working_dir)
		r = check_text("working_dir", c->working_dir, check_working_dir,
			       e);
	if (r == 0 && *c->hostname)
		r = check_text("hostname", c->hostname, check_hostname, e);
	if (r == 0)
		r = check_restart(&c->restart, RESTART_UNLESS_STOPPED, e);
	if (r == 0)
		r = check_environment(c, e);
	if (r == 0)
		r = check_ports(c->ports, c->n_ports, e);
	if (r == 0)
		r = check_limits(vm, c, e);
	if (r == 0)
		r = check_seccomp(c, e);
	if (r == 0)
		r = check_health(c, e);
	if (r == 0 && (c->stop_signal < 0 || c->stop_signal > 64))
		r = err_set(e, EINVAL, "stop_signal is out of range");
	if (r == 0 && c->stop_grace_ns > HYB_STOP_GRACE_MAX_NS)
		r = err_set(e, EINVAL, "stop_grace_period is out of range");
	return r;
}

static int check_dependencies(const struct model_stack *s,
			      const struct model_container *c, struct err *e)
{
	const struct model_dependency *d;
	const struct model_vm *vm;
	size_t i;

	for (i = 0; i < c->n_depends_on; i++) {
		d = &c->depends_on[i];
		vm = model_find_vm(s, d->vm);
		if (d->condition >= DEPENDS_CONDITION_MAX || !vm ||
		    !model_find_container(vm, d->container))
			return err_set(e, EINVAL, "depends_on is not valid");
	}
	return 0;
}

static int check_vm(const struct model_stack *s, const struct model_vm *vm,
		    struct err *e)
{
	const struct model_container *c;
	size_t i;
	int r;

	r = check_text("name", vm->name, check_name, e);
	if (r < 0)
		return r;
	if (model_find_vm(s, vm->name) != vm)
		return err_set(e, EINVAL, "declared twice");
	if (vm->vcpus < 1 || vm->vcpus > HYB_VM_VCPUS_MAX)
		return err_set(e, EINVAL, "vcpus is out of range");
	if (vm->memory &&
	    (vm->memory < HYB_VM_MEMORY_MIN || vm->memory > HYB_VM_MEMORY_MAX))
		return err_set(e, EINVAL, "memory is out of range");
	if (model_vm_boots_disk(vm)) {
		r = check_text("boot.disk", vm->boot_disk, check_name, e);
		if (r < 0)
			return r;
	}
	if (vm->boot_uefi && !model_vm_boots_disk(vm))
		return err_set(e, EINVAL, "firmware, and no disk to boot");
	if ((vm->n_containers == 0) != model_vm_boots_disk(vm) ||
	    vm->n_containers > HYB_VM_CONTAINERS_MAX)
		return err_set(e, EINVAL, "no containers, or too many");
	if (vm->n_ports && !model_vm_boots_disk(vm))
		return err_set(e, EINVAL, "ports, and containers");
	r = check_ports(vm->ports, vm->n_ports, e);
	if (r == 0)
		r = check_restart(&vm->restart, RESTART_ALWAYS, e);
	for (i = 0; r == 0 && i < vm->n_containers; i++) {
		c = &vm->containers[i];
		r = check_container(vm, c, e);
		if (r == 0 && model_find_container(vm, c->name) != c)
			r = err_set(e, EINVAL, "declared twice");
		if (r == 0)
			r = check_dependencies(s, c, e);
		if (r < 0)
			return err_wrap(e, "container %zu", i);
	}
	return r;
}

int check_stack(const struct model_stack *s, struct err *e)
{
	size_t i;
	int r;

	r = check_text("name", s->name, check_name, e);
	if (r == 0 && *s->tenant)
		r = check_text("tenant", s->tenant, check_name, e);
	if (r == 0 && (s->n_vms == 0 || s->n_vms > HYB_STACK_VMS_MAX))
		r = err_set(e, EINVAL, "no VMs, or too many");
	for (i = 0; r == 0 && i < s->n_vms; i++) {
		r = check_vm(s, &s->vms[i], e);
		if (r < 0)
			return err_wrap(e, "vm %zu", i);
	}
	return r < 0 ? r : check_storage(s, e);
}
