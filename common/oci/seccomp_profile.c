/* SPDX-License-Identifier: Apache-2.0 */
#include "common/oci/seccomp_profile.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/cleanup.h"

#define ERRNO_MAX  4095
#define NAME_MAX_  64
#define INDEX_MAX  5
#define NATIVE	   "SCMP_ARCH_X86_64"
#define NATIVE_GO  "amd64"
#define PATH_ROOM  96
#define KERNEL_MAX 999

/* ------------------------------------------------------------- the checks */

/* The place of what is looked at: "syscalls[3].args[0]". */
struct place {
	char path[PATH_ROOM];
	struct err *e;
};

static int bad(const struct place *p, const char *member, const char *what)
{
	return err_set(p->e, EINVAL, "%s%s%s: %s", p->path,
		       p->path[0] && member[0] ? "." : "", member, what);
}

/* An object without members that have no meaning. */
static int check_members(const struct place *p, const json_t *o,
			 const char *const *known)
{
	const char *key;
	json_t *copy = json_incref((json_t *)(uintptr_t)o), *value;
	size_t i;
	int r = 0;

	if (!json_is_object(o)) {
		json_decref(copy);
		return bad(p, "", "must be an object");
	}
	json_object_foreach(copy, key, value) {
		for (i = 0; known[i] && strcmp(known[i], key) != 0; i++)
			continue;
		if (!known[i]) {
			r = err_set(p->e, EINVAL, "%s%s'%.64s': unknown member",
				    p->path, p->path[0] ? "." : "", key);
			break;
		}
	}
	json_decref(copy);
	return r;
}

/* A member that may be left out, or null. */
static const json_t *member(const json_t *o, const char *key)
{
	const json_t *j = json_object_get(o, key);

	return json_is_null(j) ? NULL : j;
}

static int check_int(const struct place *p, const json_t *o, const char *key,
		     bool must, json_int_t max)
{
	const json_t *j = member(o, key);

	if (!j)
		return must ? bad(p, key, "is missing") : 0;
	if (!json_is_integer(j) || json_integer_value(j) < 0 ||
	    json_integer_value(j) > max)
		return bad(p, key, "is not a number in range");
	return 0;
}

static int check_words(const struct place *p, const json_t *o, const char *key,
		       size_t max, bool (*good)(const char *))
{
	const json_t *list = member(o, key), *j;
	size_t i;

	if (!list)
		return 0;
	if (!json_is_array(list))
		return bad(p, key, "must be a list");
	if (json_array_size(list) > max)
		return bad(p, key, "has too many items");
	for (i = 0; i < json_array_size(list); i++) {
		j = json_array_get(list, i);
		if (!json_is_string(j) ||
		    strlen(json_string_value(j)) != json_string_length(j) ||
		    !good(json_string_value(j)))
			return err_set(p->e, EINVAL,
				       "%s%s%s[%zu]: is not valid", p->path,
				       p->path[0] ? "." : "", key, i);
	}
	return 0;
}

static bool is_word(const char *s, const char *prefix, bool upper)
{
	size_t n = strlen(prefix), i;

	if (strncmp(s, prefix, n) != 0 || !s[n])
		return false;
	for (i = n; s[i]; i++)
		if (i == NAME_MAX_ ||
		    (!isdigit((unsigned char)s[i]) && s[i] != '_' &&
		     (upper ? !isupper((unsigned char)s[i])
			    : !islower((unsigned char)s[i]))))
			return false;
	return true;
}

static bool is_call(const char *s)
{
	return is_word(s, "", false);
}

static bool is_cap(const char *s)
{
	return is_word(s, "CAP_", true);
}

static bool is_arch(const char *s)
{
	return is_word(s, "SCMP_ARCH_", true);
}

static bool is_flag(const char *s)
{
	static const char *const flags[] = {"SECCOMP_FILTER_FLAG_TSYNC",
					    "SECCOMP_FILTER_FLAG_LOG",
					    "SECCOMP_FILTER_FLAG_SPEC_ALLOW"};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (strcmp(flags[i], s) == 0)
			return true;
	return false;
}

/* An action, and an errno only beside one that takes it. */
static int check_action(const struct place *p, const json_t *o, const char *key,
			const char *errno_key)
{
	static const char *const actions[] = {
		"SCMP_ACT_ERRNO",	 "SCMP_ACT_TRACE",
		"SCMP_ACT_ALLOW",	 "SCMP_ACT_KILL",
		"SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL_THREAD",
		"SCMP_ACT_LOG",		 "SCMP_ACT_TRAP"};
	const char *s = json_string_value(json_object_get(o, key));
	size_t i;

	if (!s)
		return bad(p, key, "is missing or not a text");
	if (strcmp(s, "SCMP_ACT_NOTIFY") == 0)
		return err_set(p->e, ENOTSUP,
			       "%s%s%s: SCMP_ACT_NOTIFY: there is no "
			       "supervisor in a VM",
			       p->path, p->path[0] ? "." : "", key);
	for (i = 0; i < ARRAY_SIZE(actions); i++)
		if (strcmp(actions[i], s) == 0)
			break;
	if (i == ARRAY_SIZE(actions))
		return bad(p, key, "is not an action");
	/* The first two. */
	if (i >= 2 && member(o, errno_key))
		return bad(p, errno_key, "the action takes none");
	return check_int(p, o, errno_key, false, ERRNO_MAX);
}

static bool kernel_of(const char *s, unsigned int ret[2])
{
	unsigned long v[2];
	char *end;
	size_t i;

	for (i = 0; i < 2; i++) {
		if (!isdigit((unsigned char)*s))
			return false;
		v[i] = strtoul(s, &end, 10);
		if (end - s > 3 || v[i] > KERNEL_MAX)
			return false;
		if (i == 0 && *end++ != '.')
			return false;
		s = end;
	}
	ret[0] = (unsigned int)v[0];
	ret[1] = (unsigned int)v[1];
	return true;
}

static int check_condition(const struct place *outer, const json_t *rule,
			   const char *key)
{
	static const char *const known[] = {"caps", "arches", "minKernel",
					    NULL};
	const json_t *o = member(rule, key), *min;
	struct place p = {.e = outer->e};
	unsigned int version[2];
	const char *s;
	int r;

	if (!o)
		return 0;
	snprintf(p.path, sizeof(p.path), "%.60s.%s", outer->path, key);
	r = check_members(&p, o, known);
	if (r == 0)
		r = check_words(&p, o, "caps", HYB_SECCOMP_ARCHES_MAX, is_cap);
	if (r == 0)
		r = check_words(&p, o, "arches", HYB_SECCOMP_ARCHES_MAX,
				is_call);
	min = member(o, "minKernel");
	if (r < 0 || !min)
		return r;
	s = json_string_value(min);
	if (!s || strspn(s, "0123456789.") != strlen(s) ||
	    !kernel_of(s, version) || strchr(strchr(s, '.') + 1, '.'))
		return bad(&p, "minKernel", "is not a version such as 4.8");
	return 0;
}

static int check_args(const struct place *outer, const json_t *rule)
{
	static const char *const known[] = {"index", "value", "valueTwo", "op",
					    NULL};
	static const char *const ops[] = {"SCMP_CMP_NE",       "SCMP_CMP_LT",
					  "SCMP_CMP_LE",       "SCMP_CMP_EQ",
					  "SCMP_CMP_GE",       "SCMP_CMP_GT",
					  "SCMP_CMP_MASKED_EQ"};
	const json_t *list = member(rule, "args"), *o;
	struct place p = {.e = outer->e};
	const char *op;
	size_t i, k;
	int r;

	if (list &&
	    (!json_is_array(list) || json_array_size(list) > INDEX_MAX + 1))
		return bad(outer, "args", "must be a list of at most 6");
	for (i = 0; i < json_array_size(list); i++) {
		o = json_array_get(list, i);
		snprintf(p.path, sizeof(p.path), "%.60s.args[%zu]", outer->path,
			 i);
		r = check_members(&p, o, known);
		if (r == 0)
			r = check_int(&p, o, "index", true, INDEX_MAX);
		if (r == 0)
			r = check_int(&p, o, "value", true, INT64_MAX);
		if (r == 0)
			r = check_int(&p, o, "valueTwo", false, INT64_MAX);
		if (r < 0)
			return r;
		op = json_text(o, "op");
		for (k = 0; k < ARRAY_SIZE(ops) && strcmp(ops[k], op) != 0; k++)
			continue;
		if (k == ARRAY_SIZE(ops))
			return bad(&p, "op", "is not an operator");
	}
	return 0;
}

static int check_rule(const struct place *p, const json_t *rule, size_t *names)
{
	static const char *const known[] = {"names",	"name",	    "action",
					    "errnoRet", "args",	    "comment",
					    "includes", "excludes", NULL};
	const json_t *name, *list;
	int r;

	r = check_members(p, rule, known);
	if (r == 0)
		r = check_words(p, rule, "names", HYB_SECCOMP_NAMES_MAX,
				is_call);
	if (r < 0)
		return r;
	name = member(rule, "name");
	list = member(rule, "names");
	if (name && json_string_length(name) == 0)
		name = NULL; /* written so by old programs, beside names */
	if (name && json_array_size(list))
		return bad(p, "name", "beside names");
	if (!name && json_array_size(list) == 0)
		return bad(p, "names", "is missing or empty");
	if (name &&
	    (!json_is_string(name) || !is_call(json_string_value(name))))
		return bad(p, "name", "is not valid");
	*names += name ? 1 : json_array_size(list);
	if (*names > HYB_SECCOMP_NAMES_MAX)
		return bad(p, "names", "are too many in all");
	if (member(rule, "comment") && !json_is_string(member(rule, "comment")))
		return bad(p, "comment", "must be a text");
	r = check_action(p, rule, "action", "errnoRet");
	if (r == 0)
		r = check_args(p, rule);
	if (r == 0)
		r = check_condition(p, rule, "includes");
	return r == 0 ? check_condition(p, rule, "excludes") : r;
}

static int check_rules(const json_t *profile, struct err *e)
{
	const json_t *list = member(profile, "syscalls");
	struct place p = {.e = e};
	size_t i, names = 0;
	int r = 0;

	if (list && !json_is_array(list))
		return bad(&p, "syscalls", "must be a list");
	if (json_array_size(list) > HYB_SECCOMP_RULES_MAX)
		return bad(&p, "syscalls", "has too many rules");
	for (i = 0; r == 0 && i < json_array_size(list); i++) {
		snprintf(p.path, sizeof(p.path), "syscalls[%zu]", i);
		r = check_rule(&p, json_array_get(list, i), &names);
	}
	return r;
}

static int check_arch_map(const json_t *profile, struct err *e)
{
	static const char *const known[] = {"architecture", "subArchitectures",
					    NULL};
	const json_t *list = member(profile, "archMap"), *o;
	struct place p = {.e = e};
	size_t i;
	int r = 0;

	if (!list)
		return 0;
	if (json_array_size(member(profile, "architectures")))
		return bad(&p, "archMap", "beside architectures");
	if (!json_is_array(list) ||
	    json_array_size(list) > HYB_SECCOMP_ARCHES_MAX)
		return bad(&p, "archMap", "must be a list of at most 64");
	for (i = 0; r == 0 && i < json_array_size(list); i++) {
		o = json_array_get(list, i);
		snprintf(p.path, sizeof(p.path), "archMap[%zu]", i);
		r = check_members(&p, o, known);
		if (r == 0 && !is_arch(json_text(o, "architecture")))
			r = bad(&p, "architecture", "is missing or not valid");
		if (r == 0)
			r = check_words(&p, o, "subArchitectures",
					HYB_SECCOMP_ARCHES_MAX, is_arch);
	}
	return r;
}

static int check_profile(const json_t *profile, struct err *e)
{
	static const char *const known[] = {
		"defaultAction", "defaultErrnoRet",  "architectures",
		"archMap",	 "syscalls",	     "flags",
		"listenerPath",	 "listenerMetadata", NULL};
	struct place p = {.e = e};
	int r;

	if (!json_is_object(profile))
		return err_set(e, EINVAL, "the profile must be an object");
	r = check_members(&p, profile, known);
	if (r < 0)
		return r;
	if (json_text(profile, "listenerPath")[0] ||
	    json_text(profile, "listenerMetadata")[0])
		return err_set(e, ENOTSUP,
			       "listenerPath: there is no supervisor in a VM");
	r = check_action(&p, profile, "defaultAction", "defaultErrnoRet");
	if (r == 0)
		r = check_words(&p, profile, "architectures",
				HYB_SECCOMP_ARCHES_MAX, is_arch);
	if (r == 0)
		r = check_words(&p, profile, "flags", 8, is_flag);
	if (r == 0)
		r = check_arch_map(profile, e);
	return r == 0 ? check_rules(profile, e) : r;
}

int seccomp_profile_parse(const char *text, size_t len, json_t **ret,
			  struct err *e)
{
	_cleanup_json_ json_t *profile = NULL;
	json_error_t je;
	int r;

	if (len > HYB_SECCOMP_PROFILE_MAX)
		return err_set(e, EFBIG, "the profile has more than %zu bytes",
			       HYB_SECCOMP_PROFILE_MAX);
	profile = json_loadb(text, len, JSON_REJECT_DUPLICATES, &je);
	if (!profile)
		return err_set(e, EINVAL, "line %d, column %d: %s", je.line,
			       je.column, je.text);
	r = check_profile(profile, e);
	if (r < 0)
		return r;
	*ret = steal_ptr(profile);
	return 0;
}

/* ---------------------------------------------------------- the conversion */

void seccomp_kernel_parse(const char *release, unsigned int ret[2])
{
	if (!kernel_of(release, ret))
		ret[0] = ret[1] = 0;
}

static bool has_word(const json_t *list, const char *word)
{
	size_t i;

	for (i = 0; i < json_array_size(list); i++)
		if (strcmp(json_string_value(json_array_get(list, i)), word) ==
		    0)
			return true;
	return false;
}

static bool has_cap(const struct seccomp_target *t, const json_t *cap)
{
	size_t i;

	for (i = 0; t->caps && t->caps[i]; i++)
		if (strcmp(t->caps[i], json_string_value(cap)) == 0)
			return true;
	return false;
}

/* How many of the capabilities the container has. */
static size_t count_caps(const struct seccomp_target *t, const json_t *list)
{
	size_t i, n = 0;

	for (i = 0; i < json_array_size(list); i++)
		n += has_cap(t, json_array_get(list, i));
	return n;
}

/* false where there is no such condition. */
static bool is_new_enough(const struct seccomp_target *t, const json_t *o)
{
	unsigned int min[2] = {0, 0};

	seccomp_kernel_parse(json_text(o, "minKernel"), min);
	return t->kernel[0] > min[0] ||
	       (t->kernel[0] == min[0] && t->kernel[1] >= min[1]);
}

/* includes: all of it must be so. excludes: none of it may. */
static bool applies(const json_t *rule, const struct seccomp_target *t)
{
	const json_t *in = member(rule, "includes");
	const json_t *ex = member(rule, "excludes");
	const json_t *caps = member(in, "caps"), *arches = member(in, "arches");

	if (has_word(member(ex, "arches"), NATIVE_GO) ||
	    count_caps(t, member(ex, "caps")) ||
	    (member(ex, "minKernel") && is_new_enough(t, ex)))
		return false;
	return (json_array_size(arches) == 0 || has_word(arches, NATIVE_GO)) &&
	       count_caps(t, caps) == json_array_size(caps) &&
	       (!member(in, "minKernel") || is_new_enough(t, in));
}

static void copy(json_t *to, const json_t *from, const char *key)
{
	const json_t *j = member(from, key);

	if (j && (!json_is_array(j) || json_array_size(j)))
		json_object_set(to, key, (json_t *)(uintptr_t)j);
}

static json_t *convert_rule(const json_t *rule)
{
	json_t *out = json_object();
	const json_t *name = member(rule, "name");

	if (json_array_size(member(rule, "names")))
		copy(out, rule, "names");
	else
		json_object_set_new(out, "names",
				    json_pack("[s]", json_string_value(name)));
	copy(out, rule, "action");
	copy(out, rule, "errnoRet");
	copy(out, rule, "args");
	return out;
}

static void convert_arches(json_t *out, const json_t *profile)
{
	const json_t *map = member(profile, "archMap"), *sub, *o;
	json_t *list;
	size_t i;

	copy(out, profile, "architectures");
	for (i = 0; i < json_array_size(map); i++) {
		o = json_array_get(map, i);
		if (strcmp(json_text(o, "architecture"), NATIVE) != 0)
			continue;
		list = json_pack("[s]", NATIVE);
		sub = member(o, "subArchitectures");
		if (sub)
			json_array_extend(list, (json_t *)(uintptr_t)sub);
		json_object_set_new(out, "architectures", list);
		return;
	}
}

json_t *seccomp_profile_convert(const json_t *profile,
				const struct seccomp_target *t)
{
	const json_t *rules = member(profile, "syscalls"), *rule;
	json_t *out = json_object(), *list = json_array();
	size_t i;

	if (!out || !list) {
		json_decref(out);
		json_decref(list);
		return NULL;
	}
	copy(out, profile, "defaultAction");
	copy(out, profile, "defaultErrnoRet");
	copy(out, profile, "flags");
	convert_arches(out, profile);
	for (i = 0; i < json_array_size(rules); i++) {
		rule = json_array_get(rules, i);
		if (applies(rule, t) &&
		    json_array_append_new(list, convert_rule(rule)) < 0) {
			json_decref(out);
			json_decref(list);
			return NULL;
		}
	}
	json_object_set_new(out, "syscalls", list);
	return out;
}
