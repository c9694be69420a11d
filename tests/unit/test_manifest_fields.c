/* SPDX-License-Identifier: Apache-2.0 */
/* Every field × values at and beyond its bounds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "common/base/cleanup.h"
#include "host-agent/manifest/manifest.h"

/* Values of one key. error NULL: valid; else what the one error says. */
struct value {
	const char *text;
	const char *error;
};

static size_t n_cases;

static int read_env(void *arg, const char *path, char **ret, size_t *ret_len,
		    struct err *e)
{
	(void)arg;
	if (strcmp(path, "there.env") != 0)
		return err_set(e, ENOENT, "no such file");
	*ret = strdup("A=1\n");
	*ret_len = 4;
	return 0;
}

static void check(const char *text, const char *what, const char *error)
{
	static const struct manifest_reader reader = {.read = read_env,
						      .read_file = read_env};
	_cleanup_manifest_ struct manifest m = {0};
	_cleanup_buf_ struct buf out = BUF_INIT;
	int r;

	n_cases++;
	r = manifest_parse("f", text, strlen(text), &reader, &m);
	manifest_render_diagnostics(&m, &out);
	if (!error && r != 0)
		fail_msg("%s: %s", what, buf_str(&out));
	if (!error)
		return;
	if (r != -EINVAL)
		fail_msg("%s: is taken", what);
	if (m.n_diagnostics != 1 || !strstr(m.diagnostics[0].message, error))
		fail_msg("%s: expected '%s', got: %s", what, error,
			 buf_str(&out));
}

/* Puts each "KEY: VALUE" in place of the %s. */
static void check_values(const char *format, const char *key,
			 const struct value *v, size_t n)
{
	char text[2048], what[1024];
	size_t i;

	for (i = 0; i < n; i++) {
		snprintf(what, sizeof(what), "%s: %s", key, v[i].text);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(text, sizeof(text), format, what);
#pragma GCC diagnostic pop
		check(text, what, v[i].error);
	}
}

#define STACK "hyb: 1\nname: s\n%s\nvms: {v: {containers: {c: {image: i}}}}\n"
#define VM                                                                  \
	"hyb: 1\nname: s\nvms:\n  v:\n    %s\n    containers: {c: {image: " \
	"i}}\n"
#define VM_RESOURCES                                              \
	"hyb: 1\nname: s\nvms:\n  v:\n    resources:\n      %s\n" \
	"    containers: {c: {image: i}}\n"
#define CONTAINER                                                            \
	"hyb: 1\nname: s\nvms:\n  v:\n    resources: {vcpus: 4}\n"           \
	"    containers:\n      b: {image: i}\n      c:\n        image: i\n" \
	"        %s\n"
#define LIMITS                                                              \
	"hyb: 1\nname: s\nvms:\n  v:\n    resources: {vcpus: 32}\n"         \
	"    containers:\n      c:\n        image: i\n        resources:\n" \
	"          limits:\n            %s\n"

#define MACHINE                                                      \
	"hyb: 1\nname: s\nvms:\n  v:\n    boot: {disk: d}\n    %s\n" \
	"  w: {containers: {c: {image: i, ports: ['9:9']}}}\n"

#define CHECK(format, key, ...)                                        \
	do {                                                           \
		static const struct value values[] = {__VA_ARGS__};    \
                                                                       \
		check_values(format, key, values, ARRAY_SIZE(values)); \
	} while (0)

#define NAME_47	 "a23456789012345678901234567890123456789012345678"
#define NO_VALUE "has no value"

static void test_stack_keys(void **state)
{
	(void)state;
	CHECK("%s\nname: s\nvms: {v: {containers: {c: {image: i}}}}\n", "hyb",
	      {"1", NULL}, {"2", "version '2' of the manifest is not known"},
	      {"0", "version '0'"}, {"-1", "must be a whole number"},
	      {"1.0", "must be a whole number"},
	      {"'1'", "must be a whole number, not '1' in quotes"},
	      {"01", "must be a whole number"}, {"0x1", "whole number"},
	      {"", NO_VALUE}, {"~", NO_VALUE}, {"[1]", "not a list"},
	      {"{a: 1}", "not a map"}, {"true", "whole number"},
	      {"18446744073709551615", "version"},
	      {"18446744073709551616", "must be from 0"});
	CHECK("hyb: 1\n%s\nvms: {v: {containers: {c: {image: i}}}}\n", "name",
	      {"s", NULL}, {"0", NULL}, {"my-shop", NULL}, {"'s'", NULL},
	      {NAME_47, NULL}, {NAME_47 "x", "must be 1 to 48 characters"},
	      {"Shop", "must be 1 to 48"}, {"a_b", "must be 1 to 48"},
	      {"a.b", "must be"}, {"-a", "must be"}, {"a-", "must be"},
	      {"'a b'", "must be"}, {"''", "must be"}, {"..", "must be"},
	      {"a/b", "must be"}, {"é", "must be"}, {"\"a\\0b\"", "a NUL"},
	      {"\"a\\n\"", "it is 'a\\x0a'"}, {"", NO_VALUE},
	      {"null", NO_VALUE}, {"[a]", "must be text, not a list"},
	      {"{a: b}", "must be text, not a map"});
	CHECK(STACK, "tenant", {"acme", NULL}, {"Acme", "must be 1 to 48"},
	      {"''", "must be"}, {"../x", "must be"}, {"[]", "not a list"});
	CHECK(STACK, "kind", {"stack", NULL}, {"'stack'", NULL},
	      {"tenant", "unknown key 'vms' in a tenant"},
	      {"Stack", "did you mean 'stack'?"}, {"pod", "must be stack"},
	      {"", "must be stack or tenant; it is nothing"},
	      {"[stack]", "must be stack or tenant; it is a list"});
}

static void test_vms(void **state)
{
	(void)state;
	CHECK("hyb: 1\nname: s\n%s\n", "vms",
	      {"{v: {containers: {c: {image: i}}}}", NULL},
	      {"{}", "must be a map of at least one VM; it is empty"},
	      {"[]", "it is a list"}, {"x", "it is 'x'"}, {"", NO_VALUE},
	      {"{v: {}}", "the VM 'v' has no 'containers'"},
	      {"{v: }", "a VM must be a map of keys, not nothing"},
	      {"{v: [a]}", "a VM must be a map of keys, not a list"},
	      {"{V: {containers: {c: {image: i}}}}", "the name of a VM must"},
	      {"{" NAME_47 ": {containers: {c: {image: i}}}}", NULL},
	      {"{" NAME_47 "x: {containers: {c: {image: i}}}}",
	       "the name of a VM must"},
	      {"{x-ray: {containers: {c: {image: i}}}}", NULL},
	      {"{v: {containers: {c: {image: i}}}, [a]: {}}",
	       "a key must be text, not a list"},
	      {"{v: {containers: {c: {image: i}}}, '': {}}", "a key is empty"},
	      {"{v: {containers: {}}}", "at least one container; it is empty"},
	      {"{v: {containers: [c]}}", "at least one container; it is a l"},
	      {"{v: {containers: }}", NO_VALUE},
	      {"{v: {containers: {c: }}}", "a container must be a map"},
	      {"{v: {containers: {c: nginx}}}", "a container must be a map"},
	      {"{v: {containers: {c: {}}}}", "'c' has no 'image'"},
	      {"{v: {containers: {C: {image: i}}}}", "of a container must"},
	      {"{v: {containers: {a.b: {image: i}}}}", "of a container must"});
	CHECK(VM, "restart", {"no", NULL}, {"'no'", NULL}, {"always", NULL},
	      {"on-failure", NULL}, {"on-failure:1", NULL},
	      {"on-failure:1000000", NULL},
	      {"on-failure:0", "must be from 1 to 1000000"},
	      {"on-failure:1000001", "must be from 1 to 1000000"},
	      {"'on-failure:'", "must be no, on-failure"},
	      {"on-failure:x", "must be no, on-failure"},
	      {"on-failure:-1", "must be no, on-failure"},
	      {"unless-stopped", "must be no, on-failure, on-failure:N or al"},
	      {"false", "must be no"}, {"NO", "must be no"}, {"''", "must be"},
	      {"", NO_VALUE}, {"[no]", "it is a list"});
}

static void test_vm_resources(void **state)
{
	(void)state;
	CHECK(VM, "resources", {"{}", NULL}, {"{vcpus: 1, memory: auto}", NULL},
	      {"", NO_VALUE}, {"[]", "must be a map of keys"},
	      {"1", "must be a map of keys"},
	      {"{limits: {}}", "unknown key 'limits' in a VM's 'resources'"},
	      {"{cpu: 1}", "here it is called 'cpus'"},
	      {"{mempry: 1g}", "did you mean 'memory'"});
	CHECK(VM_RESOURCES, "vcpus", {"1", NULL}, {"32", NULL},
	      {"0", "must be from 1 to 32"}, {"33", "must be from 1 to 32"},
	      {"-1", "whole number"}, {"1.5", "whole number"},
	      {"'2'", "in quotes"}, {"+2", "whole number"},
	      {"1_0", "whole number"}, {"0b1", "whole number"},
	      {"one", "whole number"}, {"4294967297", "must be from"},
	      {"99999999999999999999", "must be from"}, {"", NO_VALUE},
	      {"[2]", "a list"});
	CHECK(VM_RESOURCES, "memory", {"auto", NULL}, {"'auto'", NULL},
	      {"48m", NULL}, {"48M", NULL}, {"48MiB", NULL}, {"48mb", NULL},
	      {"50331648", NULL}, {"50331647", "must be from 48m to 1t"},
	      {"47m", "must be from 48m to 1t"}, {"1t", NULL}, {"1024g", NULL},
	      {"1.5g", NULL}, {"0.5g", NULL}, {"1025g", "must be from"},
	      {"2t", "must be from"}, {"0", "must be from"},
	      {"9999999999999999999999t", "must be from"},
	      {"-1m", "must be a size"}, {"1 g", "must be a size"},
	      {"g", "must be a size"}, {"1x", "must be a size"},
	      {"1mm", "must be a size"}, {"1.g", "must be a size"},
	      {".5g", "must be a size"}, {"1e9", "must be a size"},
	      {"Auto", "must be a size"}, {"1.2.3g", "must be a size"},
	      {"''", "must be a size"}, {"[1g]", "must be a size"},
	      {"{a: 1}", "must be a size"}, {"", NO_VALUE});
}

static void test_image(void **state)
{
	(void)state;
#define IMAGE                                                       \
	"hyb: 1\nname: s\nvms: \n  v:\n    containers:\n      c:\n" \
	"        %s\n"
#define HEX64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	CHECK(IMAGE, "image", {"nginx", NULL}, {"nginx:1.27", NULL},
	      {"library/nginx", NULL}, {"registry.example/a/b/c:tag", NULL},
	      {"localhost/x", NULL}, {"localhost:5000/x:1", NULL},
	      {"10.0.0.1:5000/x", NULL}, {"'[::1]:5000/x'", NULL},
	      {"a@sha256:" HEX64, NULL}, {"a:b@sha256:" HEX64, NULL},
	      {"a__b", NULL}, {"a---b", NULL}, {"a.b_c-d", NULL},
	      {"Registry.Example/a", NULL}, {"x:Tag_1.2-3", NULL}, {"1", NULL},
	      {"''", "must be an image reference"},
	      {"Nginx", "must be an image"}, {"a b", "must be an image"},
	      {"'a:'", "must be an image"}, {"':a'", "must be an image"},
	      {"a:b:c", "must be an image"}, {"a/", "must be an image"},
	      {"/a", "must be an image"}, {"a//b", "must be an image"},
	      {"a..b", "must be an image"}, {"../a", "must be an image"},
	      {"a___b", "must be an image"}, {"a-", "must be an image"},
	      {"-a", "must be an image"}, {"'a:-b'", "must be an image"},
	      {"'a:.b'", "must be an image"},
	      {"a@sha256:abc", "must be an image"},
	      {"a@sha512:" HEX64, "must be an image"},
	      {"a@sha256:" HEX64 "0", "must be an image"},
	      {"'@sha256:" HEX64 "'", "must be an image"},
	      {"localhost:0/x", "must be an image"},
	      {"localhost:65536/x", "must be an image"},
	      {"localhost:x/x", "must be an image"},
	      {"'[::1/x'", "must be an image"},
	      {"http://a/b", "must be an image"}, {"a;b", "must be an image"},
	      {"a$b", "must be an image"},
	      {"\"a\\e[31m\"", "it is 'a\\x1b[31m'"},
	      {"[a]", "must be text, not a list"}, {"", NO_VALUE});
}

static void test_words(void **state)
{
	(void)state;
	CHECK(CONTAINER, "pull_policy", {"missing", NULL}, {"always", NULL},
	      {"never", NULL}, {"if_not_present", NULL},
	      {"Always", "must be always, missing or never; it is 'Always'"},
	      {"[never]", "must be text"}, {"", "has no value"});
	CHECK(CONTAINER, "command", {"[a, b]", NULL}, {"[]", NULL},
	      {"sh -c 'echo hi'", NULL}, {"''", NULL}, {"[sleep, 5]", NULL},
	      {"[true, no, 1.5, 0x1]", NULL}, {"['', a]", NULL},
	      {"$HOME ${X} $$", NULL},
	      {"'a \"b'", "a quote that is not closed"},
	      {"a\\", "a quote that is not closed"},
	      {"{a: b}", "must be a list of words or one text, not a map"},
	      {"[a, [b]]", "must be text, not a list"},
	      {"[a, {b: c}]", "must be text, not a map"},
	      {"[a, ~]", "has an entry without"}, {"[a, , b]", "not YAML"},
	      {"", NO_VALUE});
	CHECK(CONTAINER, "entrypoint", {"[/bin/sh]", NULL}, {"[]", NULL},
	      {"/bin/sh -c", NULL}, {"\"'\"", "a quote that is not closed"},
	      {"{}", "not a map"}, {"", NO_VALUE});
	CHECK(CONTAINER, "entrypoint",
	      {"[]\n        command: []", "has nothing to run"},
	      {"''\n        command: ''", "has nothing to run"},
	      {"[]\n        command: [a]", NULL});
}

static void test_environment(void **state)
{
	(void)state;
	CHECK(CONTAINER, "environment", {"{A: b}", NULL}, {"{A: ''}", NULL},
	      {"{A: 1, B: true, C: 0x1f, D: no}", NULL}, {"[A=b]", NULL},
	      {"[A=]", NULL}, {"[A=b=c]", NULL}, {"{}", NULL}, {"[]", NULL},
	      {"{spring.x-y: 1}", NULL}, {"{A: '$B ${C}'}", NULL},
	      {"{x-a: 1}", NULL}, {"{A: \"l1\\nl2\"}", NULL},
	      {"{A: }", "the variable 'A' has no value"},
	      {"{A: null}", "the variable 'A' has no value"},
	      {"{A: ~}", "the variable 'A' has no value"},
	      {"[A]", "the variable 'A' has no value"},
	      {"[A=1, A=2]", "the variable 'A' is set twice"},
	      {"[=b]", "a name that is not empty"},
	      {"{A: 1, A: 2}", "the key 'A' is there already"},
	      {"{'A B': 1}", "without spaces"}, {"['A B=1']", "without spaces"},
	      {"{'A=B': 1}", "without spaces"},
	      {"{A: [1]}", "the variable 'A' must be text, not a list"},
	      {"{A: {b: c}}", "the variable 'A' must be text, not a map"},
	      {"[[A]]", "takes KEY=VALUE, not a list"},
	      {"[{A: b}]", "takes KEY=VALUE, not a map"},
	      {"[~]", "takes KEY=VALUE, not nothing"},
	      {"A=b", "must be a map or a list"}, {"", NO_VALUE},
	      {"{A: \"a\\0b\"}", "a NUL character"});
	CHECK(CONTAINER, "env_file", {"there.env", NULL}, {"[there.env]", NULL},
	      {"[]", NULL}, {"gone.env", "'gone.env' cannot be read: "},
	      {"[there.env, gone.env]", "'gone.env' cannot be read"},
	      {"''", "has an empty path"}, {"[~]", "has an entry without"},
	      {"[[a]]", "must be text, not a list"},
	      {"[{path: a}]", "a map in it is not supported yet"},
	      {"{path: a}", "a map in it is not supported yet"},
	      {"", NO_VALUE});
}

static void test_process(void **state)
{
	(void)state;
	CHECK(CONTAINER, "user", {"0", NULL}, {"'0'", NULL}, {"1000", NULL},
	      {"2147483647", NULL}, {"101:101", NULL}, {"nginx", NULL},
	      {"nginx:www-data", NULL}, {"_apt", NULL}, {"0:adm", NULL},
	      {"nginx:0", NULL}, {"2147483648", "must be USER or USER:GROUP"},
	      {"0:2147483648", "must be USER"}, {"4294967296", "must be USER"},
	      {"-1", "must be USER"}, {"'101:'", "must be USER"},
	      {"':101'", "must be USER"}, {"1a", "must be USER"},
	      {"a:b:c", "must be USER"}, {"'a b'", "must be USER"},
	      {"''", "must be USER"}, {"1.0", "must be USER"},
	      {"+1", "must be USER"}, {"0x0", "must be USER"},
	      {"abcdefghijklmnopqrstuvwxyz0123456", "must be USER"},
	      {"../root", "must be USER"}, {"[0]", "must be text"},
	      {"", NO_VALUE});
	CHECK(CONTAINER, "working_dir", {"/", NULL}, {"/a/b", NULL},
	      {"'/a b'", NULL}, {"/a/...", NULL}, {"/a/.b/..c", NULL},
	      {"//a//", NULL}, {"a", "must be an absolute path"},
	      {"./a", "must be an absolute path"},
	      {"''", "must be an absolute path"},
	      {"/..", "must be a path without '..'"},
	      {"/a/../b", "must be a path without '..'"},
	      {"/a/..", "must be a path without '..'"}, {"~", NO_VALUE},
	      {"[/]", "must be text"});
	CHECK(CONTAINER, "hostname", {"web", NULL}, {"Web-1", NULL},
	      {"1", NULL}, {"a.example", NULL},
	      {"a23456789012345678901234567890123456789012345678901234567890123",
	       NULL},
	      {"a234567890123456789012345678901234567890123456789012345678901234",
	       "must be a host name"},
	      {"a23456789012345678901234567890123456789012345678901234567890."
	       "456",
	       NULL},
	      {"a23456789012345678901234567890123456789012345678901234567890."
	       "4567",
	       "must be a host name"},
	      {"-a", "must be a host name"}, {"a-", "must be a host name"},
	      {"a_b", "must be a host name"}, {"a..b", "must be a host name"},
	      {".a", "must be a host name"}, {"a.", "must be a host name"},
	      {"''", "must be a host name"}, {"'a b'", "must be a host name"},
	      {"ä", "must be a host name"}, {"[a]", "must be text"},
	      {"", NO_VALUE});
	CHECK(CONTAINER, "init", {"true", NULL}, {"false", NULL},
	      {"yes", "must be true or false"}, {"no", "must be true or false"},
	      {"'true'", "it is 'true' in quotes"}, {"1", "must be true"},
	      {"True", "must be true"}, {"on", "must be true"},
	      {"[true]", "must be true"}, {"", NO_VALUE});
}

static void test_stop(void **state)
{
	(void)state;
	CHECK(CONTAINER, "restart", {"no", NULL}, {"'no'", NULL},
	      {"\"no\"", NULL}, {"always", NULL}, {"unless-stopped", NULL},
	      {"on-failure", NULL}, {"on-failure:5", NULL},
	      {"on-failure:05", NULL}, {"on-failure:0", "must be from 1"},
	      {"false", "must be no"}, {"never", "must be no"},
	      {"always:3", "must be no"}, {"No", "must be no"},
	      {"{condition: any}", "it is a map"}, {"", NO_VALUE});
	CHECK(CONTAINER, "stop_signal", {"SIGTERM", NULL}, {"TERM", NULL},
	      {"sigquit", NULL}, {"15", NULL}, {"'9'", NULL}, {"64", NULL},
	      {"0", "must be a signal"}, {"65", "must be a signal"},
	      {"-9", "must be a signal"}, {"SIGFOO", "must be a signal"},
	      {"SIG", "must be a signal"}, {"''", "must be a signal"},
	      {"9.0", "must be a signal"}, {"[TERM]", "must be a signal"},
	      {"", NO_VALUE});
	CHECK(CONTAINER, "stop_grace_period", {"10s", NULL}, {"0", NULL},
	      {"0s", NULL}, {"500ms", NULL}, {"1m30s", NULL}, {"1.5s", NULL},
	      {"24h", NULL}, {"24h1ns", "must be at most 24h"},
	      {"25h", "must be at most 24h"}, {"10", "with its unit"},
	      {"10 s", "with its unit"}, {"-1s", "with its unit"},
	      {"s", "with its unit"}, {"1d", "with its unit"},
	      {"''", "with its unit"}, {"1s1", "with its unit"},
	      {"99999999999999999999h", "must be at most 24h"},
	      {"[1s]", "with its unit"}, {"", NO_VALUE});
}

static void test_limits(void **state)
{
	(void)state;
	CHECK(LIMITS, "cpus", {"1", NULL}, {"0.5", NULL}, {"'0.5'", NULL},
	      {"0.01", NULL}, {"0.010", NULL}, {"32", NULL}, {"32.000", NULL},
	      {"1.25", NULL}, {"0.125", NULL}, {"0.1250", NULL},
	      {"0", "must be from 0.01 to 32"},
	      {"0.009", "must be from 0.01 to 32"},
	      {"32.001", "must be from 0.01 to 32"},
	      {"0.0001", "at most three decimals"}, {"-1", "must be a number"},
	      {".5", "must be a number"}, {"1.", "must be a number"},
	      {"1e1", "must be a number"}, {"1/2", "must be a number"},
	      {"500m", "must be a number"}, {"9999999", "must be a number"},
	      {"''", "must be a number"}, {"[1]", "must be a number"},
	      {"", NO_VALUE});
	CHECK(LIMITS, "memory", {"4m", NULL}, {"128m", NULL}, {"4194304", NULL},
	      {"4194303", "must be from 4m to 1t"}, {"1g", NULL},
	      {"0", "must be from 4m"}, {"2t", "must be from 4m"},
	      {"auto", "must be a size"}, {"-1", "must be a size"},
	      {"''", "must be a size"}, {"[1m]", "must be a size"},
	      {"", NO_VALUE});
	CHECK(LIMITS, "pids", {"1", NULL}, {"4194304", NULL},
	      {"0", "must be from 1 to 4194304"},
	      {"4194305", "must be from 1 to 4194304"}, {"-1", "whole number"},
	      {"1.5", "whole number"}, {"'100'", "in quotes"},
	      {"max", "whole number"}, {"[1]", "whole number"}, {"", NO_VALUE});
	CHECK(LIMITS, "io", {"{}", "'io' is not supported yet"},
	      {"", "'io' is not supported yet"});
	CHECK(LIMITS, "cpu", {"1", "here it is called 'cpus'"});
	CHECK(CONTAINER, "resources", {"{}", NULL}, {"{limits: {}}", NULL},
	      {"{limits: }", NO_VALUE}, {"{limits: []}", "must be a map"},
	      {"{reservations: {memory: 1m}}", "is not supported yet"},
	      {"{limits: {cpus: 4}}", NULL},
	      {"{limits: {cpus: 4.001}}", "but the VM 'v' has 4 vcpus"},
	      {"{memory: 1g}", "unknown key 'memory' in a container's"});
	CHECK("hyb: 1\nname: s\nvms:\n  v:\n    resources: {memory: 64m}\n"
	      "    containers: {c: {image: i, resources: {limits: {%s}}}}\n",
	      "memory", {"32m", NULL}, {"33m", "the VM 'v' has 64m, of which"},
	      {"1g", "the VM 'v' has 64m, of which its kernel and agent"});
}

static void test_ports(void **state)
{
	(void)state;
	CHECK(CONTAINER, "ports", {"[]", NULL}, {"['8080:80']", NULL},
	      {"[8080:80]", NULL}, {"['8080:80/tcp']", NULL},
	      {"['127.0.0.1:8080:80']", NULL}, {"['0.0.0.0:8080:80']", NULL},
	      {"['[::1]:8080:80']", NULL}, {"['[::]:8080:80']", NULL},
	      {"['1:1', '65535:65535']", NULL}, {"['[127.0.0.1]:1:1']", NULL},
	      {"['80']", "that the host chooses is not supported yet"},
	      {"[80]", "that the host chooses is not supported yet"},
	      {"['127.0.0.1::80']", "that the host chooses"},
	      {"['8000-8001:80-81']", "a range of ports"},
	      {"['80:8000-8001']", "a range of ports"},
	      {"['80-81']", "a range of ports"},
	      {"['8080:80/udp']", "the protocol udp is not supported yet"},
	      {"['8080:80/sctp']", "the protocol of a port must be tcp"},
	      {"['8080:80/']", "the protocol of a port must be tcp"},
	      {"['8080:80/TCP']", "the protocol of a port must be tcp"},
	      {"['0:80']", "the published port must be a port from 1"},
	      {"['80:0']", "the target must be a port from 1 to 65535"},
	      {"['65536:80']", "the published port must be"},
	      {"['80:65536']", "the target must be"},
	      {"['080:80']", "the published port must be"},
	      {"['-1:80']", "the published port must be"},
	      {"['a:80']", "the published port must be"},
	      {"['80:']", "the target must be"},
	      {"[':80']", "that the host chooses"}, {"['::80']", "must be"},
	      {"['+80:80']", "must be"},
	      {"['8080: 80']", "must be a port from"},
	      {"['::1:8080:80']", "stands in brackets"},
	      {"['[::1:8080:80']", "stands in brackets"},
	      {"['localhost:8080:80']", "must be a numeric IPv4 or IPv6"},
	      {"['256.0.0.1:8080:80']", "must be a numeric"},
	      {"['127.1:8080:80']", "must be a numeric"},
	      {"['224.0.0.1:8080:80']", "that one can listen on"},
	      {"['255.255.255.255:8080:80']", "that one can listen on"},
	      {"['[ff02::1]:8080:80']", "that one can listen on"},
	      {"['[::ffff:127.0.0.1]:8080:80']", "that one can listen on"},
	      {"['[fe80::1%eth0]:8080:80']", "must be a numeric"},
	      {"['']", "the target must be"}, {"[~]", "not nothing"},
	      {"[[80]]", "not a list"}, {"8080:80", "must be a list"},
	      {"{target: 80}", "must be a list; it is a map"}, {"", NO_VALUE});
	CHECK(CONTAINER, "ports", {"[{target: 80, published: 8080}]", NULL},
	      {"[{target: 80, published: '8080'}]", NULL},
	      {"[{target: 80, published: 8080, host_ip: 127.0.0.1, "
	       "protocol: tcp}]",
	       NULL},
	      {"[{target: 80, published: 8080, host_ip: '::1'}]", NULL},
	      {"[{target: 80}]", "a port has no 'published'"},
	      {"[{published: 80}]", "a port has no 'target'"},
	      {"[{target: 80, published: 8080, protocol: udp}]",
	       "the protocol udp is not supported yet"},
	      {"[{target: 80, published: 8080, protocol: [tcp]}]",
	       "must be text"},
	      {"[{target: 0, published: 8080}]", "'target' must be a port"},
	      {"[{target: 80, published: 0}]", "'published' must be a port"},
	      {"[{target: 80, published: 1-2}]", "a range of ports"},
	      {"[{target: 80, published: }]", NO_VALUE},
	      {"[{target: [80], published: 80}]", "must be a port, not a list"},
	      {"[{target: 80, published: 80, host_ip: x}]",
	       "must be a numeric"},
	      {"[{target: 80, published: 80, host_ip: '[::1]'}]",
	       "must be a numeric"},
	      {"[{target: 80, published: 80, mode: host}]",
	       "unknown key 'mode' in a port"});
	CHECK(CONTAINER, "ports", {"['1:1', '1:2']", "is published already"},
	      {"['1:1', '127.0.0.1:1:2']", "is published already, by v.c"},
	      {"['1:1', '0.0.0.0:1:2']", "is published already"},
	      {"['0.0.0.0:1:1', '127.0.0.5:1:2']", "is published already"},
	      {"['127.0.0.1:1:1', '127.0.0.2:1:2']", NULL},
	      {"['0.0.0.0:1:1', '[::]:1:2']", NULL},
	      {"['[::]:1:1', '[::1]:1:2']", "is published already"},
	      {"['[::1]:1:1', '[0:0::1]:1:2']", "is published already"},
	      {"['1:80', '2:80']", NULL});
}

static void test_machine(void **state)
{
	(void)state;
	CHECK(MACHINE, "ports", {"[]", NULL},
	      {"['127.0.0.1:2222:22/tcp']", NULL},
	      {"[{target: 22, published: 2222, host_ip: '::1'}]", NULL},
	      {"['22']", "that the host chooses is not supported yet"},
	      {"['2222:22/udp']", "the protocol udp is not supported yet"},
	      {"['1-2:22-23']", "a range of ports"},
	      {"['a:22']", "the published port must be"},
	      {"[{target: 22}]", "a port has no 'published'"},
	      {"['1:1', '1:2']", "is published already, by v in line"},
	      {"['0.0.0.0:9:1']", "is published already, by v in line"},
	      {"2222:22", "must be a list"}, {"", NO_VALUE});
	CHECK(MACHINE, "networks", {"[a]", "is not supported yet"});
	CHECK(MACHINE, "containers",
	      {"{c: {image: i}}", "an operating system of its own"});
	CHECK(VM, "ports", {"['80:80']", "write 'ports' in the container"});
	CHECK(VM, "boot", {"{disk: d}", "an operating system of its own"});
	CHECK("hyb: 1\nname: s\nvms: {v: {%s}}\n", "boot", {"{disk: d}", NULL},
	      {"{disk: d, firmware: bios}", NULL},
	      {"{disk: d, firmware: uefi}", NULL},
	      {"{disk: d, firmware: efi}", "must be bios or uefi"},
	      {"{firmware: uefi}", "'disk' is missing"},
	      {"{disk: D}", "must be"},
	      {"{disk: d, size: 1g}", "unknown key 'size'"},
	      {"d", "must be a map"});
}

static void test_depends_on(void **state)
{
	(void)state;
	CHECK(CONTAINER, "depends_on", {"[b]", NULL}, {"[v.b]", NULL},
	      {"[]", NULL}, {"{}", NULL}, {"{b: {condition: started}}", NULL},
	      {"{b: {}}", NULL}, {"{b: {condition: completed}}", NULL},
	      {"{v.b: {condition: started}}", NULL},
	      {"{b: {condition: healthy}}", NULL},
	      {"{b: {condition: health}}", "must be started, healthy or"},
	      {"{b: {condition: service_started}}", "is called 'started' here"},
	      {"{b: {condition: service_healthy}}", "is called 'healthy' here"},
	      {"{b: {condition: x}}", "must be started, healthy or completed"},
	      {"{b: {condition: }}", NO_VALUE},
	      {"{b: {condition: [started]}}",
	       "must be started, healthy or completed"},
	      {"{b: {required: true}}", "unknown key 'required'"},
	      {"{b: }", "a dependency must be a map of keys, not nothing"},
	      {"{b: started}", "a dependency must be a map of keys"},
	      {"[x]", "the VM 'v' has no container 'x'"},
	      {"[w.b]", "there is no VM 'w'"},
	      {"[v.x]", "the VM 'v' has no container 'x'"},
	      {"[b, b]", "'b' is named twice"},
	      {"[b, v.b]", "'v.b' is named twice"},
	      {"[c]", "v.c depends on itself"},
	      {"[v.c]", "v.c depends on itself"},
	      {"['']", "takes the name of a container"},
	      {"[a.b.c]", "takes the name of a container"},
	      {"[.b]", "takes the name"}, {"[v.]", "takes the name"},
	      {"[B]", "takes the name"}, {"[[b]]", "not a list"},
	      {"[{b: c}]", "not a map"}, {"b", "must be a list or a map"},
	      {"", NO_VALUE});
}

static void test_health(void **state)
{
	(void)state;
	CHECK(CONTAINER, "healthcheck", {"{test: [CMD, a]}", NULL},
	      {"{test: [CMD, a, b c, '']}", NULL},
	      {"{test: [CMD-SHELL, a || b]}", NULL}, {"{test: a || b}", NULL},
	      {"{test: [NONE]}", NULL}, {"{tcp: {port: 1}}", NULL},
	      {"{http: {port: 65535}}", NULL},
	      {"{http: {port: 80, path: '/a?b=%20'}}", NULL},
	      {"{tcp: {port: 1}, interval: 100ms, timeout: 100ms}", NULL},
	      {"{tcp: {port: 1}, interval: 24h, timeout: 1h}", NULL},
	      {"{tcp: {port: 1}, retries: 1000, start_period: 24h}", NULL},
	      {"{tcp: {port: 1}, start_period: 0, on_failure: restart}", NULL},
	      {"{tcp: {port: 1}, on_failure: restart_vm}", NULL},
	      {"{tcp: {port: 1}, on_failure: none}", NULL}, {"", NO_VALUE},
	      {"[]", "must be a map of keys, not a list"},
	      {"true", "must be a map of keys"},
	      {"{}", "needs one of 'test', 'http' and 'tcp'"},
	      {"{interval: 1s}", "needs one of 'test', 'http' and 'tcp'"},
	      {"{test: a, tcp: {port: 1}}", "more than one of"},
	      {"{http: {port: 1}, tcp: {port: 1}}", "more than one of"},
	      {"{test: [NONE], interval: 1s}", "says nothing beside test"},
	      {"{test: []}", "must be [\"CMD\", WORD...]"},
	      {"{test: [a]}", "must be [\"CMD\", WORD...]"},
	      {"{test: [CMD]}", "must be [\"CMD\", WORD...]"},
	      {"{test: [cmd, a]}", "must be [\"CMD\", WORD...]"},
	      {"{test: [NONE, a]}", "must be [\"CMD\", WORD...]"},
	      {"{test: [CMD-SHELL, a, b]}", "must be [\"CMD\", WORD...]"},
	      {"{test: [[CMD], a]}", "must be [\"CMD\", WORD...]"},
	      {"{test: [CMD, [a]]}", "must be text, not a list"},
	      {"{test: [CMD, '']}", "must have a command"},
	      {"{test: ''}", "must have a command"}, {"{test: }", NO_VALUE},
	      {"{test: {a: b}}", "not a map"},
	      {"{test: a, disable: true}", "called 'test: [\"NONE\"]'"},
	      {"{tcp: 80}", "must be a map of keys"},
	      {"{tcp: {}}", "has no 'port'"},
	      {"{tcp: {port: 0}}", "must be from 1 to 65535"},
	      {"{tcp: {port: 65536}}", "must be from 1 to 65535"},
	      {"{tcp: {port: '80'}}", "must be a whole number"},
	      {"{tcp: {port: 80, path: /}}", "unknown key 'path'"},
	      {"{http: {path: /}}", "has no 'port'"},
	      {"{http: {port: 80, path: a}}", "begins with '/'"},
	      {"{http: {port: 80, path: ''}}", "begins with '/'"},
	      {"{http: {port: 80, path: '/a b'}}", "without blanks"},
	      {"{http: {port: 80, path: \"/\\r\\n\"}}", "without blanks"},
	      {"{http: {port: 80, path: '/ä'}}", "printable ASCII"},
	      {"{http: {port: 80, host: a}}", "unknown key 'host'"},
	      {"{tcp: {port: 1}, interval: 99ms}", "from 100ms to 24h"},
	      {"{tcp: {port: 1}, interval: 0}", "from 100ms to 24h"},
	      {"{tcp: {port: 1}, interval: 24h1ns}", "from 100ms to 24h"},
	      {"{tcp: {port: 1}, interval: 5}", "with its unit"},
	      {"{tcp: {port: 1}, timeout: 61m}", "from 100ms to 1h"},
	      {"{tcp: {port: 1}, timeout: 99ms}", "from 100ms to 1h"},
	      {"{tcp: {port: 1}, start_period: 25h}", "at most 24h"},
	      {"{tcp: {port: 1}, start_period: -1s}", "with its unit"},
	      {"{tcp: {port: 1}, retries: 0}", "from 1 to 1000"},
	      {"{tcp: {port: 1}, retries: 1001}", "from 1 to 1000"},
	      {"{tcp: {port: 1}, retries: '3'}", "must be a whole number"},
	      {"{tcp: {port: 1}, on_failure: kill}", "must be restart, "},
	      {"{tcp: {port: 1}, on_failure: [restart]}", "it is a list"},
	      {"{tcp: {port: 1}, retrys: 1}", "did you mean 'retries'"},
	      {"{tcp: {port: 1}, tcp: {port: 2}}", "there already"});
	CHECK(CONTAINER, "readiness", {"{tcp: {port: 1}}", NULL},
	      {"{test: a, interval: 1s, timeout: 1s, retries: 1}", NULL},
	      {"{http: {port: 1, path: /x}}", NULL},
	      {"{}", "'readiness' needs one of"},
	      {"{test: [NONE]}", "leave the key out"},
	      {"{tcp: {port: 1}, on_failure: none}", "in 'healthcheck'"},
	      {"{tcp: {port: 1}, start_period: 1s}", "in 'healthcheck'"},
	      {"{tcp: {port: 1}, path: /}", "unknown key 'path'"},
	      {"80", "must be a map of keys"}, {"", NO_VALUE});
	CHECK(CONTAINER, "interval", {"1s", "a container's 'healthcheck'"});
	CHECK(CONTAINER, "livenessProbe", {"{}", "called 'healthcheck'"});
	CHECK(CONTAINER, "readinessProbe", {"{}", "called 'readiness'"});
	check("hyb: 1\nname: s\nvms: {v: {containers: {b: {image: i, "
	      "healthcheck: {test: [NONE]}}, c: {image: i, depends_on: {b: "
	      "{condition: healthy}}}}}}\n",
	      "healthy without a check", "'b' can never be healthy");
	check("hyb: 1\nname: s\nvms: {v: {containers: {b: {image: i, "
	      "healthcheck: {test: [NONE]}, readiness: {tcp: {port: 1}}}, c: "
	      "{image: i, depends_on: {b: {condition: healthy}}}}}}\n",
	      "healthy by readiness", NULL);
}

static void test_not_yet(void **state)
{
	static const struct {
		const char *format;
		const char *keys[22];
	} all[] = {
		{STACK, {"networks", "egress"}},
		{VM, {"replicas", "pool", "networks", "update"}},
		{CONTAINER,
		 {"tty", "expose", "cap_add", "cap_drop", "no_new_privileges",
		  "userns", "ulimits", "sysctls", "devices", "labels",
		  "logging"}},
	};
	char error[64];
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		for (k = 0; k < 22 && all[i].keys[k]; k++) {
			struct value v[] = {{"1", error}, {"", error}};

			snprintf(error, sizeof(error),
				 "'%s' is not supported yet", all[i].keys[k]);
			check_values(all[i].format, all[i].keys[k], v, 2);
		}
	}
}

static void test_unknown_keys(void **state)
{
	(void)state;
	CHECK(STACK, "vm", {"1", "here it is called 'vms'"});
	CHECK(STACK, "services", {"{}", "called 'vms.<vm>.containers'"});
	CHECK(STACK, "version", {"'3'", "here it is called 'hyb'"});
	CHECK(STACK, "nmae", {"s", "did you mean 'name'"});
	CHECK(STACK, "zzz", {"s", "unknown key 'zzz' in a stack"});
	CHECK(STACK, "image", {"s", "it belongs in a container"});
	CHECK(CONTAINER, "memory",
	      {"4m", "it belongs in a container's 'resources.limits'"});
	CHECK(VM, "memory", {"4m", "it belongs in a VM's 'resources'"});
	CHECK(STACK, "x-anything", {"s", NULL}, {"", NULL}, {"{a: [b]}", NULL},
	      {"{a: b, a: c}", "the key 'a' is there already"});
	CHECK(VM, "continers", {"{}", "did you mean 'containers'"});
	CHECK(VM, "x-a", {"1", NULL});
	CHECK(CONTAINER, "x-a", {"1", NULL});
	CHECK(CONTAINER, "enviroment", {"{}", "did you mean 'environment'"});
	CHECK(CONTAINER, "Image", {"a", "did you mean 'image'"});
	CHECK(CONTAINER, "workingDir", {"/", "did you mean 'working_dir'"});
	CHECK(CONTAINER, "working-dir", {"/", "did you mean 'working_dir'"});
	CHECK(CONTAINER, "usre", {"/", "did you mean 'user'"});
	CHECK(CONTAINER, "env", {"{}", "here it is called 'environment'"});
	CHECK(CONTAINER, "\"a\\tb\"", {"1", "unknown key 'a\\x09b'"});
	CHECK(CONTAINER, "image",
	      {"again", "the key 'image' is there already"});
}

static void test_count(void **state)
{
	(void)state;
	print_message("%zu cases\n", n_cases);
	assert_true(n_cases >= 400);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_keys),
		cmocka_unit_test(test_vms),
		cmocka_unit_test(test_vm_resources),
		cmocka_unit_test(test_image),
		cmocka_unit_test(test_words),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_process),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_machine),
		cmocka_unit_test(test_depends_on),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_not_yet),
		cmocka_unit_test(test_unknown_keys),
		cmocka_unit_test(test_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
