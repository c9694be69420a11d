/* SPDX-License-Identifier: Apache-2.0 */
/* What the verbs of hyb-runtime share. */
#ifndef HYB_GUEST_RUNTIME_RUNTIME_H
#define HYB_GUEST_RUNTIME_RUNTIME_H

#include "common/base/err.h"
#include "guest-agent/runtime/store.h"

#include <stdbool.h>

/* Options before the verb. */
struct options {
	const char *root;
	const char *log;
	bool log_json, debug;
	bool own_root;	/* --root was given */
	bool no_cgroup; /* what is made is to have none */
	char **argv;	/* all of the command line, to run again */
};

/* A verb: argv[0] is its name. 0 or the exit code; on failure e says why. */
struct verb {
	const char *name, *usage, *help;
	int (*run)(const struct options *o, int argc, char **argv,
		   struct err *e);
};

int verb_create(const struct options *o, int argc, char **argv, struct err *e);
int verb_start(const struct options *o, int argc, char **argv, struct err *e);
int verb_state(const struct options *o, int argc, char **argv, struct err *e);
int verb_kill(const struct options *o, int argc, char **argv, struct err *e);
int verb_delete(const struct options *o, int argc, char **argv, struct err *e);
int verb_exec(const struct options *o, int argc, char **argv, struct err *e);
int verb_pause(const struct options *o, int argc, char **argv, struct err *e);
int verb_resume(const struct options *o, int argc, char **argv, struct err *e);

int verb_run(const struct options *o, int argc, char **argv, struct err *e);
int verb_update(const struct options *o, int argc, char **argv, struct err *e);
int verb_list(const struct options *o, int argc, char **argv, struct err *e);
int verb_ps(const struct options *o, int argc, char **argv, struct err *e);
int verb_spec(const struct options *o, int argc, char **argv, struct err *e);
int verb_events(const struct options *o, int argc, char **argv, struct err *e);
int verb_refused(const struct options *o, int argc, char **argv, struct err *e);
int verb_features(const struct options *o, int argc, char **argv,
		  struct err *e);

/* Lets a created one run (and waits until it says that it is ready, where
 * NOTIFY_SOCKET wants to know, unless foreground: the caller stays); undoes and forgets one. */
int start_id(const struct options *o, const char *id, bool foreground,
	     struct err *e);
int delete_id(const struct options *o, const char *id, bool force,
	      struct err *e);
/* Failures are warnings, as the specification says. */
void run_poststop(const char *id, const char *bundle,
		  const struct oci_runtime *config);
/* Exit code (128 + signal) of a child, which is reaped. */
int wait_exit(int pidfd);
/* The container's terminal leaves line ends as they are, for where its output
 * goes may be a file. Before its program begins. */
void end_lines_plainly(int console);
/* Is in the foreground until the process ends: hands signals on, and joins its
 * terminal's master (-1: none) to standard input and output. Its exit code. */
int attend(int pidfd, int console);
/* N of --preserve-fds, with what LISTEN_FDS asks for: descriptors 3 to 2 + *ret
 * are the container's, and as long as they are not open, nobody else's. text
 * may be NULL. */
int parse_preserve(const char *text, unsigned int *ret, struct err *e);
/* "text", "table" or "json" of -f: is it the last? -EINVAL: neither. */
int parse_format(const char *text, bool *ret_json);
/* Prints and frees json, which may be NULL: over many lines, or on one. */
int print_json(json_t *json, struct err *e);
int print_json_line(json_t *json, struct err *e);
/* "2026-01-01T00:00:00.000000000Z" */
void format_time(uint64_t ns, char *out, size_t size);
/* Calls fn for each container whose id the extended regular expression
 * matches; the first failure is the result, the others are tried all the
 * same. */
int for_each_match(const struct options *o, const char *pattern,
		   int (*fn)(const struct options *o, const char *id, void *arg,
			     struct err *e),
		   void *arg, struct err *e);

/* Something is wrong with the command line: prints the usage; 2. */
int usage_error(const struct verb *v, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
const struct verb *find_verb(const char *name);
/* With --debug: a line to the log file, or to standard error. */
void debug_line(const struct options *o, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* Can --log be written to? */
int check_log(const struct options *o, struct err *e);
/* What engines on top read: the error to standard error, and to the log. */
void report_error(const struct options *o, const struct err *e);

/* NULL: the configuration has none of that key. */
const char *find_annotation(const struct oci_runtime *config, const char *key);
/* crun's annotation that says so. */
int read_keep_groups(const struct oci_runtime *config, bool *ret,
		     struct err *e);

/* What it uses, as an event of runc's. */
json_t *stats_describe(const char *id, int cgroup);

/* A container from its folder. with_config: for exec. */
struct loaded {
	int dir, pidfd;
	struct store_state state;
	struct oci_runtime *config;
	enum container_status status;
	struct container *c;
	/* Set before load(): in the place of the configuration's, for exec
	 * --process. Outlives this struct. */
	struct oci_process *process;
};
#define LOADED_INIT                    \
	{                              \
		.dir = -1, .pidfd = -1 \
	}
void loaded_done(struct loaded *l);
int load(const struct options *o, const char *id, bool with_config,
	 bool for_start, struct loaded *ret, struct err *e);

/* CVE-2019-5736: goes on as a process whose /proc/self/exe cannot be opened
 * for writing, whoever gets hold of it. Returns only when that is so. */
int exe_protect(char **argv, struct err *e);
/* Runs it again by such a mount; returns only with an error. */
int exe_again(char **argv, struct err *e);

/* rootless.c. An ordinary user, without the right to mount? Then create, run
 * and exec run again in a user namespace where they have it: these functions
 * come back only with an error, and else with 0. config: to be made; pid,
 * pidfd: the container's first process. */
bool rootless_is_needed(void);
int rootless_create(const struct options *o, const struct oci_runtime *config,
		    struct err *e);
int rootless_exec(const struct options *o, pid_t pid, int pidfd, struct err *e);
/* First thing in every process: the rights that came over the exec go no
 * further. */
int rootless_arrived(struct err *e);
/* Where the state is by default; NULL: there is no place. */
const char *rootless_root(void);

/* What a service manager handed to us, for the container: environment and a
 * mount of its configuration. */
struct sdnotify {
	char *env[6];
	char source[4096];
	struct oci_mount *mounts;
	struct oci_runtime *config;
};
/* dir: the container's folder. config is changed until sdnotify_done(). */
int sdnotify_plan(struct sdnotify *n, struct oci_runtime *config,
		  const char *dir, struct err *e);
void sdnotify_done(struct sdnotify *n);
/* The socket that the container was given, now somebody's; -1: none. */
int sdnotify_listen(int dir);
/* Until it is ready or has ended: hands on the former. Aside: by a process of
 * its own. */
void sdnotify_forward(int sock, int pidfd, pid_t pid);
void sdnotify_forward_aside(int sock, int pidfd, pid_t pid);

int write_pid_file(const char *path, pid_t pid, struct err *e);
/* Sends a terminal's master to the caller's socket. */
int send_console(const char *socket_path, int console, struct err *e);
/* The same with a pidfd of the process, for --pidfd-socket. */
int send_pidfd(const char *socket_path, int pidfd, struct err *e);

#endif
