/* SPDX-License-Identifier: Apache-2.0 */
/* Containers by a pattern of their ids, for --regex. */
#include "guest-agent/runtime/runtime.h"

#include <dirent.h>
#include <regex.h>
#include <stdlib.h>

#include "common/base/cleanup.h"

/* A pattern of this length costs no memory worth speaking of. */
#define PATTERN_MAX 1024

static void cleanup_names(struct dirent ***names)
{
	size_t i;

	for (i = 0; *names && (*names)[i]; i++)
		free((*names)[i]);
	free(*names);
}

/* NULL-terminated; NULL: there are none. */
static int list_names(const struct options *o, struct dirent ***ret,
		      struct err *e)
{
	struct dirent **names, **more;
	int n = scandir(o->root, &names, NULL, alphasort);

	if (n < 0)
		return errno == ENOENT && !o->own_root
			       ? 0
			       : err_sys(e, errno, "open '%s'", o->root);
	more = realloc(names, ((size_t)n + 1) * sizeof(*names));
	if (!more) {
		while (n > 0)
			free(names[--n]);
		free(names);
		return err_sys(e, ENOMEM, "list");
	}
	more[n] = NULL;
	*ret = more;
	return 0;
}

int for_each_match(const struct options *o, const char *pattern,
		   int (*fn)(const struct options *o, const char *id, void *arg,
			     struct err *e),
		   void *arg, struct err *e)
{
	_cleanup_(cleanup_names) struct dirent **names = NULL;
	struct err later = ERR_INIT;
	regex_t re;
	size_t i;
	int r, first = 0;

	if (strlen(pattern) > PATTERN_MAX ||
	    regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB) != 0)
		return err_set(e, EINVAL,
			       "--regex: '%.64s' is not a regular expression",
			       pattern);
	r = list_names(o, &names, e);
	for (i = 0; r == 0 && names && names[i]; i++) {
		const char *id = names[i]->d_name;

		if (!container_id_is_valid(id) ||
		    regexec(&re, id, 0, NULL, 0) != 0)
			continue;
		r = fn(o, id, arg, first ? &later : e);
		first = first ? first : r;
		r = 0;
		err_clear(&later);
	}
	regfree(&re);
	return r < 0 ? r : first;
}
