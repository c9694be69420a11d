/* SPDX-License-Identifier: Apache-2.0 */
/* Runs a fuzz target over the files of a corpus: what `make check` does with
 * every compiler, without libFuzzer. Arguments: files or folders. */
#include "common/base/cleanup.h"
#include "common/base/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t replayed;

static int replay_file(const char *path)
{
	_cleanup_free_ char *data = NULL;
	struct err e = ERR_INIT;
	size_t len;

	if (file_read(AT_FDCWD, path, (size_t)64 << 20, &data, &len, &e) < 0) {
		fprintf(stderr, "%s\n", e.msg);
		return 1;
	}
	LLVMFuzzerTestOneInput((const uint8_t *)data, len);
	replayed++;
	return 0;
}

static int replay_path(const char *path)
{
	_cleanup_closedir_ DIR *d = NULL;
	char sub[PATH_MAX];
	struct dirent *ent;
	struct stat st;
	int bad = 0;

	if (stat(path, &st) == 0 && !S_ISDIR(st.st_mode))
		return replay_file(path);
	d = opendir(path);
	if (!d) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return 1;
	}
	while ((ent = readdir(d))) {
		if (ent->d_name[0] == '.')
			continue;
		snprintf(sub, sizeof(sub), "%s/%s", path, ent->d_name);
		bad |= replay_path(sub);
	}
	return bad;
}

int main(int argc, char **argv)
{
	int i, bad = 0;

	for (i = 1; i < argc; i++)
		bad |= replay_path(argv[i]);
	if (replayed == 0) {
		fprintf(stderr, "%s: empty corpus\n", argv[0]);
		return 1;
	}
	printf("%zu inputs\n", replayed);
	return bad;
}
