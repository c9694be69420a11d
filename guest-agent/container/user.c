/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/container/user.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/cleanup.h"
#include "common/base/parse.h"
#include "guest-agent/sys/rootpath.h"

/* A line of passwd or group, cut at its colons in place. */
#define FIELDS_MAX 7

static size_t split_fields(char *line, char *fields[FIELDS_MAX])
{
	size_t n = 0;

	while (n < FIELDS_MAX) {
		fields[n++] = line;
		line = strchr(line, ':');
		if (!line)
			break;
		*line++ = '\0';
	}
	return n;
}

/* The file's text; an absent one (or something that is no file) is empty. */
static char *read_db(int rootfd, const char *path)
{
	char *buf = malloc(HYB_PASSWD_MAX + 1);
	ssize_t n;

	if (!buf)
		return NULL;
	n = rootpath_read(rootfd, path, buf, HYB_PASSWD_MAX);
	if (n < 0)
		buf[0] = '\0';
	return buf;
}

struct passwd_entry {
	char *name, *home;
	uid_t uid;
	gid_t gid;
};

/* The next good line; lines that are not of the form are passed over. */
static bool next_passwd(char **cursor, struct passwd_entry *ret)
{
	char *fields[FIELDS_MAX], *line;
	size_t n;

	while ((line = strsep(cursor, "\n"))) {
		n = split_fields(line, fields);
		if (n < 4 || parse_uid(fields[2], &ret->uid) < 0 ||
		    parse_uid(fields[3], &ret->gid) < 0)
			continue;
		ret->name = fields[0];
		ret->home = n >= 6 ? fields[5]
				   : fields[n - 1] + strlen(fields[n - 1]);
		return true;
	}
	return false;
}

static void copy_home(char *dst, size_t size, const char *home)
{
	size_t len = strlen(home);

	dst[0] = '\0';
	if (home[0] == '/' && len < size)
		memcpy(dst, home, len + 1);
}

static bool is_digits(const char *s)
{
	return s[0] && s[strspn(s, "0123456789")] == '\0';
}

/* Is name in the comma-separated list? */
static bool is_member(const char *list, const char *name)
{
	size_t len = strlen(name), n;

	while (*list) {
		n = strcspn(list, ",");
		if (n == len && memcmp(list, name, n) == 0)
			return true;
		list += n;
		if (*list)
			list++;
	}
	return false;
}

static int bad_user(struct err *e, const char *kind, const char *text)
{
	char escaped[128];

	return err_set(e, EINVAL, "%s '%s' is not in the image", kind,
		       text_escape(text, escaped, sizeof(escaped)));
}

/* The user part; *ret_name is its name where it has one (into passwd). */
static int find_user(char *passwd, const char *text, struct user *ret,
		     const char **ret_name, struct err *e)
{
	bool numeric = is_digits(text);
	struct passwd_entry entry;

	ret->uid = 0;
	ret->gid = 0;
	if (numeric && parse_uid(text, &ret->uid) < 0)
		return err_set(e, EINVAL, "user '%.32s' is over 2^31-1", text);
	while (next_passwd(&passwd, &entry)) {
		if (numeric ? entry.uid != ret->uid
			    : strcmp(entry.name, text) != 0)
			continue;
		ret->uid = entry.uid;
		ret->gid = entry.gid;
		copy_home(ret->home, sizeof(ret->home), entry.home);
		*ret_name = entry.name;
		return 0;
	}
	return numeric ? 0 : bad_user(e, "user", text);
}

/* The group part where text is not NULL, and else the groups that list the
 * user as a member. */
static int find_groups(char *db, const char *text, const char *name,
		       struct user *ret, struct err *e)
{
	char *fields[FIELDS_MAX], *line;
	gid_t gid;

	if (text && is_digits(text)) {
		if (parse_uid(text, &ret->gid) < 0)
			return err_set(e, EINVAL,
				       "group '%.32s' is over 2^31-1", text);
		return 0;
	}
	while ((line = strsep(&db, "\n"))) {
		if (split_fields(line, fields) < 4 ||
		    parse_uid(fields[2], &gid) < 0)
			continue;
		if (text && strcmp(fields[0], text) == 0) {
			ret->gid = gid;
			return 0;
		}
		if (!text && name && is_member(fields[3], name) &&
		    ret->n_groups < HYB_USER_GROUPS_MAX)
			ret->groups[ret->n_groups++] = gid;
	}
	return text ? bad_user(e, "group", text) : 0;
}

int user_find(char *passwd, char *group, const char *text, struct user *ret,
	      struct err *e)
{
	_cleanup_free_ char *copy = strdup(text);
	const char *name = NULL;
	char *colon;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!copy)
		return err_sys(e, ENOMEM, "user");
	colon = strchr(copy, ':');
	if (colon)
		*colon++ = '\0';
	if (colon && !*colon)
		colon = NULL;
	r = find_user(passwd, copy[0] ? copy : "0", ret, &name, e);
	return r < 0 ? r : find_groups(group, colon, name, ret, e);
}

int user_resolve(int rootfd, const char *text, struct user *ret, struct err *e)
{
	_cleanup_free_ char *passwd = read_db(rootfd, "/etc/passwd");
	_cleanup_free_ char *group = read_db(rootfd, "/etc/group");

	if (!passwd || !group)
		return err_sys(e, ENOMEM, "user");
	return user_find(passwd, group, text, ret, e);
}

void user_find_home(int rootfd, uid_t uid, char *home, size_t size)
{
	_cleanup_free_ char *passwd = read_db(rootfd, "/etc/passwd");
	struct passwd_entry entry;
	char *cursor = passwd;

	home[0] = '\0';
	if (!passwd)
		return;
	while (next_passwd(&cursor, &entry)) {
		if (entry.uid == uid) {
			copy_home(home, size, entry.home);
			return;
		}
	}
}
