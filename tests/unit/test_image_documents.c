/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Indexes, manifests, configurations and archives that were made to do harm, or
 * that are unusual and right. Each is loaded, or refused with an error that
 * names what is wrong; and nothing outside the store has changed.
 */
#include <fcntl.h>
#include <setjmp.h>

#include "tests/unit/image_layout.h"

#include <cmocka.h>

struct document {
	const char *name;
	const char *code;  /* image_edit.py */
	const char *error; /* what its message holds; NULL: it is loaded */
	const char *get;   /* by which name, unless NULL */
};

static const struct document cases[] = {
	{"as it should be", "", .get = "x:1"},

	/* -- index -- */
	{"an index of nothing", "index['manifests'] = []",
	 .error = "names no image"},
	{"an index of null", "index['manifests'] = None",
	 .error = "manifests: is not"},
	{"an index of an object", "index['manifests'] = {}",
	 .error = "is not a list"},
	{"an index of numbers", "index['manifests'] = [5]",
	 .error = "manifests[0]"},
	{"an index of 1025", "index['manifests'] = [entry] * 1025",
	 .error = "more than 1024"},
	{"one entry 1000 times is one image",
	 "index['manifests'] = [entry] * 1000", .get = "x:1"},
	{"an index that says it is a manifest",
	 "index['mediaType'] = OCI + 'manifest.v1+json'",
	 .error = "mediaType: is of another kind"},
	{"a manifest in the index's place",
	 "files['index.json'] = text(dict(manifest, config=put(config)))",
	 .error = "manifests: is not a list"},
	{"an index of schema 1", "index['schemaVersion'] = 1",
	 .error = "schemaVersion"},
	{"a schema that is a word", "index['schemaVersion'] = '2'",
	 .error = "schemaVersion"},
	{"an index of 5 MiB", "index['x'] = 'a' * (5 << 20)",
	 .error = "'index.json' is over 4194304 bytes"},
	{"JSON in JSON 60000 times", "files['index.json'] = b'[' * 60000",
	 .error = "index: line 1"},
	{"JSON in JSON 100000 times", "files['index.json'] = b'[' * 100000",
	 .error = "index: has more than 65536 values"},
	{"JSON that ends early", "files['index.json'] = text(index)[:-9]",
	 .error = "index: line 1"},
	{"JSON and more",
	 "files['index.json'] = b'{\"schemaVersion\":2,\"manifests\":[]}{}'",
	 .error = "index: line 1"},
	{"JSON that is not UTF-8", "files['index.json'] = b'{\"\\xff\":1}'",
	 .error = "index: line 1"},
	{"no JSON at all", "files['index.json'] = b'\\0' * 64",
	 .error = "index: line 1"},
	{"an empty index.json", "files['index.json'] = b''",
	 .error = "index: line 1"},
	{"a number too large",
	 "files['index.json'] = b'{\"schemaVersion\":1e999}'",
	 .error = "index: line 1"},
	{"a key twice",
	 "files['index.json'] = b'{\"manifests\":[],\"manifests\":[]}'",
	 .error = "duplicate"},
	{"a digest of another kind", "entry['digest'] = 'sha512:' + 'a' * 128",
	 .error = "manifests[0]: its digest"},
	{"a digest in capitals", "entry['digest'] = 'sha256:' + 'A' * 64",
	 .error = "manifests[0]: its digest"},
	{"a digest that is a path",
	 "entry['digest'] = 'sha256:' + ('../' * 22)[:64]",
	 .error = "manifests[0]: its digest"},
	{"a digest that is a number", "entry['digest'] = 7",
	 .error = "is not a string"},
	{"no digest", "entry['digest'] = ''",
	 .error = "manifests[0]: its digest"},
	{"a digest of what is not there",
	 "entry['digest'] = 'sha256:' + 'a' * 64", .error = "is missing"},
	{"a size too small", "entry['size'] = 1", .error = "and should be 1"},
	{"a negative size", "entry['size'] = -1",
	 .error = "not a whole number"},
	{"a size of 2^62", "entry['size'] = 1 << 62",
	 .error = "its size is too large"},
	{"a size beyond all", "entry['size'] = 10 ** 30",
	 .error = "index: line 1"},
	{"a size that is a fraction", "entry['size'] = 1.5",
	 .error = "not a whole number"},
	{"a media type of something else", "entry['mediaType'] = 'text/html'",
	 .error = "no image for linux/"},
	{"a signature among images is passed over",
	 "index['manifests'].insert(0, put(b'x', 'application/x-sig'))",
	 .get = "x:1"},
	{"Docker's manifest",
	 "entry['mediaType'] = DOCKER + 'manifest.v2+json'", .get = "x:1"},

	/* -- indexes of indexes, platforms -- */
	{"an index of an index",
	 "e = other('amd64')\n"
	 "entry.update(put(dict(index, manifests=[e]), OCI + "
	 "'index.v1+json'))",
	 .get = "x:1"},
	{"five indexes in one another",
	 "e = other('amd64')\n"
	 "for i in range(6): e = put(dict(index, manifests=[e]), OCI + "
	 "'index.v1+json')\n"
	 "entry.update(e)",
	 .error = "indexes inside one another"},
	{"an index that refers to itself",
	 "e = dict(mediaType=OCI + 'index.v1+json', size=300, "
	 "digest='sha256:' + 'b' * 64)\n"
	 "files['blobs/sha256/' + 'b' * 64] = text(dict(index, "
	 "manifests=[e])).ljust(300)\n"
	 "entry.update(e)",
	 .error = "has the digest sha256:"},
	{"of several machines ours",
	 "e = [other('s390x'), other('amd64'), other('arm64')]\n"
	 "entry.update(put(dict(index, manifests=e), OCI + "
	 "'index.v1+json'))",
	 .get = "x:1"},
	{"of several machines none is ours",
	 "e = [other('s390x'), other('arm64')]\n"
	 "entry.update(put(dict(index, manifests=e), OCI + "
	 "'index.v1+json'))",
	 .error = "no image for linux/amd64"},
	{"beside an attestation",
	 "e = [dict(other('amd64'), platform=dict(architecture='unknown', "
	 "os='unknown')), other('amd64')]\n"
	 "entry.update(put(dict(index, manifests=e), OCI + "
	 "'index.v1+json'))",
	 .get = "x:1"},
	{"the right machine, the wrong system",
	 "e = dict(other('amd64'), platform=dict(architecture='amd64', "
	 "os='windows'))\n"
	 "entry.update(put(dict(index, manifests=[e]), OCI + "
	 "'index.v1+json'))",
	 .error = "no image for linux/amd64"},
	{"an index that promises another machine's image",
	 "e = dict(other('s390x'), platform=dict(architecture='amd64', "
	 "os='linux'))\n"
	 "entry.update(put(dict(index, manifests=[e]), OCI + "
	 "'index.v1+json'))",
	 .error = "the image is for s390x"},
	{"an empty index in an index",
	 "entry.update(put(dict(index, manifests=[]), OCI + "
	 "'index.v1+json'))",
	 .error = "no image for linux/"},
	{"a manifest called an index",
	 "entry['mediaType'] = OCI + 'index.v1+json'",
	 .error = "index: manifests: is not a list"},

	/* -- manifest -- */
	{"a manifest of numbers", "manifest = b'5'",
	 .error = "manifest: line 1"},
	{"a manifest that is a list", "manifest = b'[]'",
	 .error = "not a JSON object"},
	{"no layers", "manifest['layers'] = []",
	 .error = "the image has no layers"},
	{"layers that are none", "del manifest['layers']",
	 .error = "layers: is not"},
	{"no configuration", "del manifest['config']",
	 .error = "config: is not"},
	{"128 layers",
	 "manifest['layers'] = [put(LAYER)] * 128\n"
	 "config['rootfs']['diff_ids'] = [digest(LAYER)] * 128",
	 .get = "x:1"},
	{"129 layers",
	 "manifest['layers'] = [put(LAYER)] * 129\n"
	 "config['rootfs']['diff_ids'] = [digest(LAYER)] * 129",
	 .error = "more than 128"},
	{"a layer of an unknown media type",
	 "manifest['layers'] = [put(LAYER, OCI + 'layer.v1.cpio')]",
	 .error = "layers[0]: its media type"},
	{"a layer that is encrypted",
	 "manifest['layers'] = [put(LAYER, OCI + "
	 "'layer.v1.tar+gzip+encrypted')]",
	 .error = "layers[0]: its media type"},
	{"a layer said to be gzip that is none",
	 "manifest['layers'] = [put(LAYER, OCI + 'layer.v1.tar+gzip')]",
	 .get = "x:1"},
	{"a layer without a media type",
	 "manifest['layers'] = [put(LAYER, '')]",
	 .error = "layers[0]: its media type"},
	{"the configuration as a layer", "manifest['layers'] = [put(config)]",
	 .error = "layer 1 (sha256:"},
	{"a layer as the configuration",
	 "manifest['config'] = put(LAYER, OCI + 'config.v1+json')",
	 .error = "image configuration: line 1"},
	{"a layer of another size", "manifest['layers'][0]['size'] += 512",
	 .error = "layer 1 (sha256:"},
	{"a layer that is not there",
	 "manifest['layers'][0]['digest'] = 'sha256:' + 'c' * 64",
	 .error = "layer 1 (sha256:cccccccccccc): 'blobs/sha256/cccc"},
	{"a layer with other bytes",
	 "files['blobs/sha256/' + digest(LAYER)[7:]] = layer('y')",
	 .error = "layer 1 (sha256:"},
	{"an artifact",
	 "manifest['config'] = put(b'{}', OCI + 'empty.v1+json')",
	 .error = "its media type is not of an image"},

	/* -- configuration -- */
	{"a configuration of 5 MiB", "config['x'] = 'a' * (5 << 20)",
	 .error = "is over 4194304 bytes"},
	{"a configuration for Windows", "config['os'] = 'windows'",
	 .error = "the image is for windows"},
	{"no layers in the configuration", "del config['rootfs']",
	 .error = "image configuration: rootfs"},
	{"a diff_id too many", "config['rootfs']['diff_ids'] *= 2",
	 .error = "the image has 1 layers, and its configuration lists 2"},
	{"a wrong diff_id",
	 "config['rootfs']['diff_ids'] = ['sha256:' + 'd' * 64]",
	 .error = "and should be sha256:dddd"},
	{"diff_ids the wrong way round",
	 "b = layer('y')\n"
	 "manifest['layers'].append(put(b))\n"
	 "config['rootfs']['diff_ids'] = [digest(b), digest(LAYER)]",
	 .error = "layer 1 (sha256:"},
	{"a diff_id of another kind",
	 "config['rootfs']['diff_ids'] = ['md5:' + 'd' * 32]",
	 .error = "rootfs.diff_ids"},
	{"Env as an object", "config['config']['Env'] = {'A': 'b'}",
	 .error = "config.Env: is not a list"},
	{"Env with a NUL", "config['config']['Env'] = ['A=b\\0c']",
	 .error = "image configuration"},
	{"Env of 60000", "config['config']['Env'] = ['A=b'] * 60000",
	 .error = "config.Env: is too long"},
	{"Env of 70000", "config['config']['Env'] = ['A=b'] * 70000",
	 .error = "image configuration: has more than 65536 values"},
	{"User as a number", "config['config']['User'] = 0",
	 .error = "config.User: is not a string"},
	{"Labels as a list", "config['config']['Labels'] = ['a']",
	 .error = "config.Labels: is not an object"},
	{"null everywhere",
	 "config['config'] = dict.fromkeys(['Env', 'Cmd', 'Entrypoint', "
	 "'User', 'Volumes', 'ExposedPorts', 'Labels', 'WorkingDir', "
	 "'Healthcheck'])\n"
	 "config['config']['Env'] = ['A=b']",
	 .get = "x:1"},

	/* -- names -- */
	{"a name that is none is passed over",
	 "entry['annotations'] = {'org.opencontainers.image.ref.name': "
	 "'../../x:1'}",
	 .get = NULL},
	{"a name with a newline is passed over",
	 "entry['annotations'] = {'org.opencontainers.image.ref.name': "
	 "'a\\nb:1'}",
	 .get = NULL},
	{"a name of 10000 letters is passed over",
	 "entry['annotations'] = {'org.opencontainers.image.ref.name': "
	 "'a' * 10000}",
	 .get = NULL},
	{"a name that is a number",
	 "entry['annotations'] = {'org.opencontainers.image.ref.name': 1}",
	 .error = "manifests[0]: is not a string"},
	{"containerd's name",
	 "entry['annotations'] = {'io.containerd.image.name': "
	 "'docker.io/library/c:2'}",
	 .get = "c:2"},

	/* -- files of a layout -- */
	{"a layer is a link to the canary",
	 "p = root + '/blobs/sha256/' + digest(LAYER)[7:]\n"
	 "later += [lambda: os.unlink(p), "
	 "lambda: os.symlink(top + '/canary', p)]",
	 .error = "symbolic link"},
	{"a layer is a folder",
	 "p = root + '/blobs/sha256/' + digest(LAYER)[7:]\n"
	 "later += [lambda: os.unlink(p), lambda: os.mkdir(p)]",
	 .error = "is not a regular file"},
	{"a layer is a fifo",
	 "p = root + '/blobs/sha256/' + digest(LAYER)[7:]\n"
	 "later += [lambda: os.unlink(p), lambda: os.mkfifo(p)]",
	 .error = "is not a regular file"},
	{"the index is a link",
	 "p = root + '/index.json'\n"
	 "later += [lambda: os.rename(p, root + '/i'), "
	 "lambda: os.symlink('i', p)]",
	 .error = "symbolic link"},
	{"the index is a fifo",
	 "p = root + '/index.json'\n"
	 "later += [lambda: os.unlink(p), lambda: os.mkfifo(p)]",
	 .error = "'index.json' is not a regular file"},
	{"the blobs are a link to another folder",
	 "p = root + '/blobs'\n"
	 "later += [lambda: os.rename(p, top + '/elsewhere'), "
	 "lambda: os.symlink('../elsewhere', p)]",
	 .error = "symbolic link"},

	/* -- docker save -- */
	{"docker save", "docker()", .get = "d:1"},
	{"of nothing", "add('manifest.json', [])", .error = "manifest.json"},
	{"of an empty image", "add('manifest.json', [{}])",
	 .error = "the image has no layers"},
	{"of a number", "add('manifest.json', 5)", .error = "manifest.json"},
	{"a layer outside", "docker(Layers=['../canary'])",
	 .error = "layer 1 (sha256:"},
	{"a layer with an absolute name", "docker(Layers=[top + '/canary'])",
	 .error = "layer 1 (sha256:"},
	{"a layer that is a link out",
	 "add('m.tar', type=tarfile.SYMTYPE, linkname='../../canary')\n"
	 "docker(Layers=['m.tar'])",
	 .error = "layer 1 (sha256:"},
	{"a layer that is an absolute link",
	 "add('m.tar', type=tarfile.SYMTYPE, linkname=top + '/canary')\n"
	 "docker(Layers=['m.tar'])",
	 .error = "layer 1 (sha256:"},
	{"a layer that is a link to itself",
	 "add('m.tar', type=tarfile.SYMTYPE, linkname='m.tar')\n"
	 "docker(Layers=['m.tar'])",
	 .error = "too many links in the archive"},
	{"layers that are links in a circle",
	 "add('m.tar', type=tarfile.SYMTYPE, linkname='n.tar')\n"
	 "add('n.tar', type=tarfile.LNKTYPE, linkname='m.tar')\n"
	 "docker(Layers=['m.tar'])",
	 .error = "too many links in the archive"},
	{"a layer that is a link inside",
	 "add('a/m.tar', type=tarfile.SYMTYPE, linkname='../l.tar')\n"
	 "docker(Layers=['a/m.tar'])",
	 .get = "d:1"},
	{"a layer that is a folder",
	 "add('m.tar', type=tarfile.DIRTYPE)\ndocker(Layers=['m.tar'])",
	 .error = "'m.tar' is missing"},
	{"a layer that is a device",
	 "add('m.tar', type=tarfile.CHRTYPE)\ndocker(Layers=['m.tar'])",
	 .error = "'m.tar' is missing"},
	{"a configuration outside", "docker(Config='../canary')",
	 .error = "'../canary' is missing"},
	{"a configuration that is not there", "docker(Config='z.json')",
	 .error = "'z.json' is missing"},
	{"a configuration that is a number", "docker(Config=1)",
	 .error = "Config"},
	{"a tag that is none", "docker(RepoTags=['A B'])", .error = "'A B'"},
	{"no tags", "docker(RepoTags=None)", .get = NULL},
	{"two layers where one is right", "docker(Layers=['l.tar', 'l.tar'])",
	 .error = "the image has 2 layers, and its configuration lists 1"},
	{"an entry twice: the later counts",
	 "add('l.tar', b'x' * 1024)\ndocker()", .get = "d:1"},
	{"names that begin with a dot and a slash",
	 "docker()\n"
	 "for i, _ in archive: i.name = './' + i.name",
	 .get = "d:1"},
	{"an entry named '..' is not taken",
	 "add('../c.json', b'{}')\nadd('..', b'')\ndocker()", .get = "d:1"},
	{"4097 entries", "for i in range(4097): add('f%d' % i)\ndocker()",
	 .error = "more than 4096 entries"},
	{"OCI's index beside Docker's manifest counts",
	 "docker()\n"
	 "add('index.json', dict(index, manifests=[]))",
	 .error = "names no image"},
	{"an archive that is cut",
	 "docker()\n"
	 "later += [lambda: os.truncate(top + '/image.tar', 700)]",
	 .error = "not an image archive"},
	{"an archive with a hostile header",
	 "docker()\n"
	 "archive[0][0].uid = 1 << 40\n",
	 .error = "not an image archive"},
	{"an archive of 5 GiB of zeros",
	 "docker()\n"
	 "later += [lambda: os.system('head -c 300M /dev/zero | gzip -1 > ' "
	 "+ top + '/image.tar')]",
	 .error = "more than the limit"},
	{"gzip that is cut",
	 "docker()\n"
	 "later += [lambda: os.system('cd ' + top + ' && gzip -c image.tar "
	 "| head -c 100 >x && mv x image.tar')]",
	 .error = "gzip: the data are cut"},
};

#define N_CASES (sizeof(cases) / sizeof(cases[0]))

static struct stat canary;

static int setup_case(void **state)
{
	int r;

	max_bytes = 256ull << 20;
	r = setup(&(void *){*state});
	if (r < 0)
		return r;
	write_file(at("canary"), "alive", 5);
	return stat(at("canary"), &canary);
}

static int teardown_case(void **state)
{
	return teardown(&(void *){*state});
}

static void make(const struct document *c)
{
	char cmd[200];
	FILE *f;

	snprintf(cmd, sizeof(cmd), "python3 tests/unit/image_edit.py %s", top);
	fflush(NULL);
	f = popen(cmd, "we");
	assert_non_null(f);
	fputs(c->code, f);
	assert_int_equal(pclose(f), 0);
}

static void check_host(void)
{
	_cleanup_free_ char *text = NULL;
	struct stat st;
	size_t len;

	assert_int_equal(lstat(at("canary"), &st), 0);
	assert_true(st.st_ino == canary.st_ino &&
		    st.st_mode == canary.st_mode &&
		    st.st_mtim.tv_nsec == canary.st_mtim.tv_nsec);
	assert_int_equal(
		file_read(AT_FDCWD, at("canary"), 100, &text, &len, &e), 0);
	assert_string_equal(text, "alive");
}

static void test_one(void **state)
{
	_cleanup_image_info_list_ struct image_info **list = NULL;
	const struct document *c = *state;
	const char *path;
	int r;

	make(c);
	path = access(at("image.tar"), F_OK) == 0 ? at("image.tar")
						  : at("image");
	r = load(path, NULL, &list);
	if (c->error &&
	    (r == 0 || !strstr(e.msg, c->error) ||
	     strncmp(e.msg, "load '/tmp", 10) != 0 || strchr(e.msg, '\n')))
		fail_msg("%s: wanted '%s', got %d '%s'", c->name, c->error, r,
			 r ? e.msg : "");
	if (!c->error && r < 0)
		fail_msg("%s: %s", c->name, e.msg);
	check_clean(c->error ? 0 : 1);
	if (!c->error && !c->get)
		assert_null(list[0]->names[0]);
	if (c->get)
		get_ok(c->get, NULL);
	if (!c->error)
		assert_int_equal(
			sh("fsck.erofs %s >/dev/null 2>&1", whole_of(list[0])),
			0);
	check_host();
}

int main(void)
{
	static struct CMUnitTest tests[N_CASES];
	size_t i;

	for (i = 0; i < N_CASES; i++)
		tests[i] = (struct CMUnitTest){
			.name = cases[i].name,
			.test_func = test_one,
			.setup_func = setup_case,
			.teardown_func = teardown_case,
			.initial_state = (void *)(uintptr_t)&cases[i],
		};
	return cmocka_run_group_tests_name("documents", tests, NULL, NULL);
}
