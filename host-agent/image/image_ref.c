/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/image/image_ref.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/oci/image.h"

#define HUB	"docker.io/"
#define LIBRARY "docker.io/library/"

static int bad(struct err *e, const char *s, const char *why)
{
	char text[200];

	return err_set(e, EINVAL, "image '%s': %s",
		       text_escape(s, text, sizeof(text)), why);
}

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Lower-case letters and digits, with ".", "_" and "-" between them. */
static bool component_is_valid(const char *s, size_t len)
{
	size_t i;

	if (len == 0 || !is_alnum(s[0]) || !is_alnum(s[len - 1]))
		return false;
	for (i = 0; i < len; i++) {
		if (!is_alnum(s[i]) && s[i] != '.' && s[i] != '_' &&
		    s[i] != '-')
			return false;
	}
	return true;
}

/* HOST or HOST:PORT. */
static bool registry_is_valid(const char *s, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		char c = s[i];

		if (c == ':')
			break;
		if (!is_alnum(c) && !(c >= 'A' && c <= 'Z') && c != '.' &&
		    c != '-')
			return false;
	}
	if (i == 0 || s[0] == '-' || s[0] == '.')
		return false;
	if (i == len)
		return true;
	if (i + 1 == len || len - i > 6)
		return false;
	for (i++; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return false;
	}
	return true;
}

static bool tag_is_valid(const char *s)
{
	size_t i;

	for (i = 0; s[i]; i++) {
		char c = s[i];

		if (!is_alnum(c) && !(c >= 'A' && c <= 'Z') && c != '_' &&
		    (i == 0 || (c != '.' && c != '-')))
			return false;
	}
	return i > 0 && i <= IMAGE_REF_TAG_MAX;
}

/* Does the first component name a registry? Docker's rule. */
static bool has_registry(const char *s)
{
	size_t n = strcspn(s, "/");

	if (s[n] == '\0')
		return false;
	return memchr(s, '.', n) || memchr(s, ':', n) ||
	       (n == 9 && memcmp(s, "localhost", 9) == 0);
}

static bool name_is_good(const char *s)
{
	size_t n = strcspn(s, "/");

	if (!registry_is_valid(s, n))
		return false;
	while (s[n]) {
		s += n + 1;
		n = strcspn(s, "/");
		if (!component_is_valid(s, n))
			return false;
	}
	return true;
}

static int take_name(const char *s, size_t len, struct image_ref *r)
{
	char name[IMAGE_REF_NAME_MAX + 1];
	const char *prefix = "";

	if (len == 0 || len > IMAGE_REF_NAME_MAX)
		return -EINVAL;
	memcpy(name, s, len);
	name[len] = '\0';
	if (!has_registry(name))
		prefix = strchr(name, '/') ? HUB : LIBRARY;
	else if (strncmp(name, "index.docker.io/", 16) == 0)
		memmove(name, name + 6, strlen(name + 6) + 1);
	if (strncmp(name, HUB, 10) == 0 && !strchr(name + 10, '/')) {
		memmove(name, name + 10, strlen(name + 10) + 1);
		prefix = LIBRARY;
	}
	if ((size_t)snprintf(r->name, sizeof(r->name), "%s%s", prefix, name) >=
	    sizeof(r->name))
		return -EINVAL;
	return name_is_good(r->name) && strchr(r->name, '/') ? 0 : -EINVAL;
}

int image_ref_parse(const char *s, struct image_ref *ret, struct err *e)
{
	const char *at = strchr(s, '@'), *end = at ? at : s + strlen(s);
	const char *slash = memrchr(s, '/', (size_t)(end - s));
	const char *colon = memchr(slash ? slash : s, ':',
				   (size_t)(end - (slash ? slash : s)));
	struct image_ref r = {.tag = ""};
	size_t n;

	if (at) {
		if (!oci_digest_is_valid(at + 1))
			return bad(e, s,
				   "behind '@' must be 'sha256:' and 64 "
				   "hexadecimal digits");
		memcpy(r.digest, at + 1, HYB_OCI_DIGEST_LEN + 1);
	}
	if (colon) {
		n = (size_t)(end - colon) - 1;
		if (n > IMAGE_REF_TAG_MAX)
			return bad(e, s, "its tag is over 128 characters long");
		memcpy(r.tag, colon + 1, n);
		if (!tag_is_valid(r.tag))
			return bad(e, s,
				   "a tag is letters, digits, '_', '.' and "
				   "'-'");
	} else if (!at) {
		memcpy(r.tag, "latest", sizeof("latest"));
	}
	n = (size_t)((colon ? colon : end) - s);
	if (take_name(s, n, &r) < 0) {
		bad(e, s,
		    "not a name of the form [REGISTRY/]NAME[:TAG]"
		    "[@DIGEST], in lower case");
		if (strstr(s, "://"))
			err_hint(e, "leave out what stands before '://', and "
				    "that");
		return -EINVAL;
	}
	if (at)
		snprintf(r.full, sizeof(r.full), "%s@%s", r.name, r.digest);
	else
		snprintf(r.full, sizeof(r.full), "%s:%s", r.name, r.tag);
	*ret = r;
	return 0;
}

size_t image_ref_short_len(const char *s)
{
	return has_registry(s) ? 0 : strcspn(s, ":@");
}

const char *image_ref_familiar(const char *full)
{
	size_t n = sizeof(LIBRARY) - 1;

	/* What would not be read as the same again keeps its prefix. */
	if (strncmp(full, LIBRARY, n) == 0 && !strchr(full + n, '/'))
		return full + n;
	n = sizeof(HUB) - 1;
	if (strncmp(full, HUB, n) == 0 && strchr(full + n, '/') &&
	    !has_registry(full + n))
		return full + n;
	return full;
}
