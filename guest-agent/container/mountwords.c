/* SPDX-License-Identifier: Apache-2.0 */
/* The options of a mount, word by word. These tables are also what `features`
 * says of them. */
#include "guest-agent/container/internal.h"

#include <stddef.h>
#include <string.h>
#include <sys/mount.h>

#include "common/base/cleanup.h"
#include "guest-agent/sys/kernel.h"
#include "guest-agent/sys/mnt.h"

/* Words that are attributes of a mount and of those below it; without the "r"
 * in front: of the mount alone. */
static const struct attr_word {
	const char *word;
	uint64_t set, clear;
} attr_words[] = {
	{"rro", MOUNT_ATTR_RDONLY, 0},
	{"rrw", 0, MOUNT_ATTR_RDONLY},
	{"rnosuid", MOUNT_ATTR_NOSUID, 0},
	{"rsuid", 0, MOUNT_ATTR_NOSUID},
	{"rnodev", MOUNT_ATTR_NODEV, 0},
	{"rdev", 0, MOUNT_ATTR_NODEV},
	{"rnoexec", MOUNT_ATTR_NOEXEC, 0},
	{"rexec", 0, MOUNT_ATTR_NOEXEC},
	{"rnodiratime", MOUNT_ATTR_NODIRATIME, 0},
	{"rdiratime", 0, MOUNT_ATTR_NODIRATIME},
	{"rnosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0},
	{"rsymfollow", 0, MOUNT_ATTR_NOSYMFOLLOW},
	{"rnoatime", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME},
	{"ratime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
	{"rrelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
	{"rnorelatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
	{"rstrictatime", MOUNT_ATTR_STRICTATIME, MOUNT_ATTR__ATIME},
	{"rnostrictatime", MOUNT_ATTR_RELATIME, MOUNT_ATTR__ATIME},
};

static const struct {
	const char *word;
	unsigned long flag;
	bool recursive;
} propagation_words[] = {
	{"private", MS_PRIVATE, false},
	{"rprivate", MS_PRIVATE, true},
	{"slave", MS_SLAVE, false},
	{"rslave", MS_SLAVE, true},
	{"shared", MS_SHARED, false},
	{"rshared", MS_SHARED, true},
	{"unbindable", MS_UNBINDABLE, false},
	{"runbindable", MS_UNBINDABLE, true},
};

/* Words of mount(8) that say nothing to a mount made here. */
static const char *const ignored_words[] = {
	"defaults", "async",  "auto", "noauto", "user",	  "nouser",
	"_netdev",  "nofail", "loud", "silent", "nomand",
};

/* What the kernel takes for any file system that is mounted here. */
static const char *const fs_words[] = {"sync", "dirsync", "lazytime",
				       "nolazytime", "mand"};

#define FLAG(m) offsetof(struct plan_mount, m)
/* Words of our own, and the one or two flags that they set. */
static const struct {
	const char *word;
	size_t flag, also;
} own_words[] = {
	{"bind", FLAG(bind), FLAG(bind)},
	{"rbind", FLAG(bind), FLAG(bind_recursive)},
	{"idmap", FLAG(idmap), FLAG(idmap)},
	{"ridmap", FLAG(idmap), FLAG(idmap_recursive)},
	{"tmpcopyup", FLAG(copy_up), FLAG(copy_up)},
	{"remount", FLAG(remount), FLAG(remount)},
	{"copy-symlink", FLAG(copy_link), FLAG(copy_link)},
	{"src-nofollow", FLAG(source_nofollow), FLAG(source_nofollow)},
	{"dest-nofollow", FLAG(target_nofollow), FLAG(target_nofollow)},
};
#undef FLAG

/* The later word wins, as on a command line. */
static void add_attr(uint64_t *set, uint64_t *clear, const struct attr_word *w)
{
	*set = (*set & ~w->clear) | w->set;
	*clear = (*clear & ~w->set) | w->clear;
}

static bool take_attr(struct plan_mount *m, const char *word)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(attr_words); i++) {
		if (strcmp(word, attr_words[i].word + 1) == 0) {
			add_attr(&m->set, &m->clear, &attr_words[i]);
			return true;
		}
		if (strcmp(word, attr_words[i].word) == 0) {
			add_attr(&m->rec_set, &m->rec_clear, &attr_words[i]);
			return true;
		}
	}
	return false;
}

static bool take_propagation(struct plan_mount *m, const char *word)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(propagation_words); i++) {
		if (strcmp(word, propagation_words[i].word) != 0)
			continue;
		if (m->n_propagation < ARRAY_SIZE(m->propagation)) {
			m->propagation[m->n_propagation] =
				propagation_words[i].flag;
			m->propagation_rec[m->n_propagation++] =
				propagation_words[i].recursive;
		}
		return true;
	}
	return false;
}

static bool take_own(struct plan_mount *m, const char *word)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(own_words); i++) {
		if (strcmp(word, own_words[i].word) != 0)
			continue;
		*(bool *)((char *)m + own_words[i].flag) = true;
		*(bool *)((char *)m + own_words[i].also) = true;
		return true;
	}
	return false;
}

bool words_have(const char *const *list, size_t n, const char *word)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (strcmp(list[i], word) == 0)
			return true;
	return false;
}

/* Anything else belongs to the file system: "size=64m", "newinstance". */
static int take_data(struct plan *p, struct plan_mount *m, const char *word,
		     struct err *e)
{
	struct mnt_option *o = &m->options[m->n_options];
	char *copy = plan_strdup(p, word), *value;

	if (!copy)
		return err_sys(e, ENOMEM, "mount");
	if (subdir_word(copy)) {
		m->subdir = subdir_word(copy);
		return 0;
	}
	value = strchr(copy, '=');
	if (value)
		*value++ = '\0';
	o->key = copy;
	o->value = value;
	m->n_options++;
	return 0;
}

int mount_words_parse(struct plan *p, struct plan_mount *m,
		      const char *const *options, struct err *e)
{
	size_t n = 0, i;
	const char *word;
	int r;

	while (options && options[n])
		n++;
	m->options = arena_alloc(p->arena, n + 2, sizeof(*m->options));
	if (!m->options)
		return err_sys(e, ENOMEM, "mount");
	for (i = 0; i < n; i++) {
		word = options[i];
		if (!word[0] || take_own(m, word) || take_attr(m, word) ||
		    take_propagation(m, word) ||
		    words_have(ignored_words, ARRAY_SIZE(ignored_words), word))
			continue;
		r = take_data(p, m, word, e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_all(const char **out, int n, int max, const char *const *list,
		   size_t count)
{
	size_t i;

	for (i = 0; i < count && n < max; i++)
		out[n++] = list[i];
	return n;
}

int container_mount_words(const char **out, int max)
{
	size_t i;
	int n = 0;

	for (i = 0; i < ARRAY_SIZE(attr_words) && n + 1 < max; i++) {
		out[n++] = attr_words[i].word + 1;
		out[n++] = attr_words[i].word;
	}
	for (i = 0; i < ARRAY_SIZE(propagation_words) && n < max; i++)
		out[n++] = propagation_words[i].word;
	for (i = 0; i < ARRAY_SIZE(own_words) && n < max; i++)
		out[n++] = own_words[i].word;
	n = add_all(out, n, max, ignored_words, ARRAY_SIZE(ignored_words));
	return add_all(out, n, max, fs_words, ARRAY_SIZE(fs_words));
}

int propagation_parse(const char *name, unsigned long *ret, bool *ret_recursive,
		      struct err *e)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(propagation_words); i++) {
		if (strcmp(name, propagation_words[i].word) == 0) {
			*ret = propagation_words[i].flag;
			*ret_recursive = propagation_words[i].recursive;
			return 0;
		}
	}
	return err_set(e, EINVAL, "linux.rootfsPropagation: unknown '%.64s'",
		       name);
}
