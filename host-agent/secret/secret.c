/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/secret/secret.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/parse.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define KEY_LEN	  32
#define NONCE_LEN 12
#define TAG_LEN	  16

struct secret_store {
	struct state *state;
	unsigned char key[KEY_LEN];
	pthread_mutex_t lock;
	atomic_ullong generation;
};

void secret_free(char *data, size_t len)
{
	if (data)
		explicit_bzero(data, len);
	free(data);
}

/* ------------------------------------------------------------- the key */

static int read_key(struct secret_store *s, const char *path, struct err *e)
{
	_cleanup_close_ int fd =
		open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT
				       : err_sys(e, errno, "open '%s'", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != 0 ||
	    (st.st_mode & 077) || st.st_size != KEY_LEN)
		return err_set(e, EKEYREJECTED,
			       "'%s' must be a file of root's with mode 0600 "
			       "and %d bytes",
			       path, KEY_LEN);
	if (read_full(fd, s->key, KEY_LEN) != KEY_LEN)
		return err_set(e, EIO, "read '%s'", path);
	return 0;
}

static int make_key(struct secret_store *s, const char *path, struct err *e)
{
	_cleanup_free_ struct state_secret *list = NULL;
	size_t n = 0;
	int r;

	r = state_secret_list(s->state, &list, &n, e);
	if (r < 0)
		return r;
	if (n > 0) {
		err_set(e, ENOKEY,
			"the key '%s' is gone, and %zu secret%s sealed with it",
			path, n, n == 1 ? " is" : "s are");
		err_hint(e, "put it back from a backup");
		return -ENOKEY;
	}
	random_bytes(s->key, KEY_LEN);
	return file_write_atomic(path, s->key, KEY_LEN, 0600, e);
}

int secret_store_open(const char *root, struct state *state,
		      struct secret_store **ret, struct err *e)
{
	struct secret_store *s = calloc(1, sizeof(*s));
	char path[300];
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "secrets");
	s->state = state;
	pthread_mutex_init(&s->lock, NULL);
	atomic_init(&s->generation, 1);
	snprintf(path, sizeof(path), "%s/secret.key", root);
	r = read_key(s, path, e);
	if (r == -ENOENT)
		r = make_key(s, path, e);
	if (r == 0)
		r = state_secret_purge(state, e);
	if (r < 0) {
		free(s);
		return r;
	}
	*ret = s;
	return 0;
}

/* ------------------------------------------------------------- sealing */

/* What is authenticated along. Names hold no NUL. */
static size_t binding(const struct state_secret *v, char out[256])
{
	int n = snprintf(out, 256, "%s/%s/%s/%lld", v->tenant, v->stack,
			 v->name, (long long)v->version);

	return n < 0 ? 0 : n < 256 ? (size_t)n : 255;
}

static bool seal_run(const struct secret_store *s, const struct state_secret *v,
		     const unsigned char *nonce, const unsigned char *in,
		     size_t len, unsigned char *out, unsigned char *tag,
		     bool seal)
{
	EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
	char aad[256];
	size_t aad_len = binding(v, aad);
	int n = 0, rest = 0, enc = seal ? 1 : 0;
	unsigned char last[16];
	bool ok;

	ok = ctx &&
	     EVP_CipherInit_ex(ctx, EVP_aes_256_gcm(), NULL, s->key, nonce,
			       enc) == 1 &&
	     EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)aad,
			      (int)aad_len) == 1;
	if (ok && len)
		ok = EVP_CipherUpdate(ctx, out, &n, in, (int)len) == 1;
	if (ok && !seal)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_LEN,
					 tag) == 1;
	ok = ok && EVP_CipherFinal_ex(ctx, last, &rest) == 1 && rest == 0;
	if (ok && seal)
		ok = EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_LEN,
					 tag) == 1;
	EVP_CIPHER_CTX_free(ctx);
	return ok;
}

/* NONCE CIPHERTEXT TAG, in hexadecimal. */
static int seal(const struct secret_store *s, struct state_secret *v,
		const void *data, size_t len, struct err *e)
{
	size_t total = NONCE_LEN + len + TAG_LEN;
	_cleanup_free_ unsigned char *raw = malloc(total);

	v->sealed = malloc(2 * total + 1);
	if (!raw || !v->sealed)
		return err_sys(e, ENOMEM, "seal");
	random_bytes(raw, NONCE_LEN);
	if (!seal_run(s, v, raw, data, len, raw + NONCE_LEN,
		      raw + NONCE_LEN + len, true))
		return err_set(e, EIO, "seal: the cipher failed");
	hex_format(raw, total, v->sealed);
	return 0;
}

static int unseal(const struct secret_store *s, const struct state_secret *v,
		  char **ret, size_t *ret_len, struct err *e)
{
	size_t digits = strlen(v->sealed), total = digits / 2, len;
	_cleanup_free_ unsigned char *raw = malloc(total + 1);
	char *out;

	if (!raw)
		return err_sys(e, ENOMEM, "open");
	if (digits % 2 || total < NONCE_LEN + TAG_LEN ||
	    hex_parse(v->sealed, raw, total) < 0)
		return err_set(e, EBADMSG, "its row is damaged");
	len = total - NONCE_LEN - TAG_LEN;
	out = malloc(len + 1);
	if (!out)
		return err_sys(e, ENOMEM, "open");
	if (!seal_run(s, v, raw, raw + NONCE_LEN, len, (unsigned char *)out,
		      raw + NONCE_LEN + len, false)) {
		secret_free(out, len);
		return err_set(e, EBADMSG,
			       "it was not sealed with this host's key, or "
			       "was changed since");
	}
	out[len] = '\0';
	*ret = out;
	*ret_len = len;
	return 0;
}

/* ------------------------------------------------------------ the calls */

static int wrap(struct err *e, const char *stack, const char *name)
{
	return err_wrap(e, "secret '%s%s%s'", stack, stack[0] ? "/" : "", name);
}

int secret_get(struct secret_store *s, const char *tenant, const char *stack,
	       const char *name, char **ret, size_t *ret_len,
	       int64_t *ret_version, struct err *e)
{
	struct state_secret v = {.sealed = NULL};
	int r;

	r = state_secret_find(s->state, tenant, stack, name, &v, e);
	if (r == -ENOENT) {
		err_set(e, ENOENT, "there is no secret '%s%s%s'", stack,
			stack[0] ? "/" : "", name);
		if (!stack[0])
			err_hint(e, "`hyb secret set %s` sets it", name);
		return -ENOENT;
	}
	if (r == 0)
		r = unseal(s, &v, ret, ret_len, e);
	free(v.sealed);
	if (r < 0)
		return wrap(e, stack, name);
	*ret_version = v.version;
	return 0;
}

int secret_would(struct secret_store *s, const char *tenant, const char *stack,
		 const char *name, const void *data, size_t len,
		 int *ret_changed, struct err *e)
{
	struct err ignored = ERR_INIT;
	char *have = NULL;
	size_t have_len = 0;
	int64_t version;
	int r;

	if (len > HYB_FILE_MAX)
		return err_set(e, EINVAL,
			       "a secret has at most %zu bytes; this has %zu",
			       HYB_FILE_MAX, len);
	r = secret_get(s, tenant, stack, name, &have, &have_len, &version,
		       &ignored);
	*ret_changed =
		r == -ENOENT						   ? 1
		: r < 0 || have_len != len || memcmp(have, data, len) != 0 ? 2
									   : 0;
	if (r == 0)
		secret_free(have, have_len);
	return 0;
}

static int set(struct secret_store *s, const char *tenant, const char *stack,
	       const char *name, const void *data, size_t len, struct err *e)
{
	struct state_secret v = {.created_at = (int64_t)now_realtime_ns()};
	int r;

	snprintf(v.tenant, sizeof(v.tenant), "%s", tenant);
	snprintf(v.stack, sizeof(v.stack), "%s", stack);
	snprintf(v.name, sizeof(v.name), "%s", name);
	r = state_secret_version(s->state, &v.version, e);
	if (r == 0)
		r = seal(s, &v, data, len, e);
	if (r == 0)
		r = state_secret_put(s->state, &v, e);
	free(v.sealed);
	return r < 0 ? wrap(e, stack, name) : 0;
}

int secret_set(struct secret_store *s, const char *tenant, const char *stack,
	       const char *name, const void *data, size_t len, int *ret_changed,
	       struct err *e)
{
	int changed = 0, r;

	pthread_mutex_lock(&s->lock);
	r = secret_would(s, tenant, stack, name, data, len, &changed, e);
	if (r == 0 && changed)
		r = set(s, tenant, stack, name, data, len, e);
	pthread_mutex_unlock(&s->lock);
	if (r == 0 && changed)
		atomic_fetch_add(&s->generation, 1);
	if (r == 0 && ret_changed)
		*ret_changed = changed;
	return r;
}

int secret_remove(struct secret_store *s, const char *tenant, const char *stack,
		  const char *name, struct err *e)
{
	return state_secret_remove(s->state, tenant, stack, name, e);
}

uint64_t secret_generation(struct secret_store *s)
{
	return atomic_load(&s->generation);
}
