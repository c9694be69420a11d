/* SPDX-License-Identifier: Apache-2.0 */
/* An image's /etc/passwd and /etc/group and its USER: three texts, each ended
 * by a 0xff (no UTF-8) or a NUL. */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guest-agent/container/user.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *take(const uint8_t **data, size_t *size)
{
	size_t n = 0;
	char *text;

	while (n < *size && (*data)[n] != 0xff && (*data)[n])
		n++;
	text = malloc(n + 1);
	if (!text)
		abort();
	memcpy(text, *data, n);
	text[n] = '\0';
	n += n < *size;
	*data += n;
	*size -= n;
	return text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *user = take(&data, &size), *passwd = take(&data, &size);
	char *group = take(&data, &size);
	struct err e = ERR_INIT;
	struct user u;

	if (user_find(passwd, group, user, &u, &e) < 0) {
		assert(e.code > 0 && e.msg[0]);
	} else {
		assert(u.uid <= INT32_MAX && u.gid <= INT32_MAX);
		assert(u.n_groups <= HYB_USER_GROUPS_MAX);
		assert(!u.home[0] || u.home[0] == '/');
		assert(memchr(u.home, '\0', sizeof(u.home)));
	}
	free(user);
	free(passwd);
	free(group);
	return 0;
}
