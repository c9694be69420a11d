/* SPDX-License-Identifier: Apache-2.0 */
#include "guest-agent/init/machine.h"

#include "common/base/cleanup.h"
#include "common/base/fd.h"
#include "common/base/log.h"

#include <fcntl.h>
#include <linux/random.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <sys/timex.h>
#include <time.h>

#define NS_PER_S INT64_C(1000000000)

/* ------------------------------------------------------------------ clock */

static int step_clock(int64_t time)
{
	struct timespec t = {.tv_sec = time / NS_PER_S,
			     .tv_nsec = time % NS_PER_S};

	return clock_settime(CLOCK_REALTIME, &t) < 0 ? -errno : 0;
}

/* Replaces what is left of an earlier adjustment. */
static int slew_clock(int64_t offset)
{
	struct timex t = {.modes = ADJ_OFFSET_SINGLESHOT,
			  .offset = offset / 1000};

	return adjtimex(&t) < 0 ? -errno : 0;
}

int machine_set_time(int64_t time, int64_t *ret_offset, struct err *e)
{
	int64_t offset = time - (int64_t)now_realtime_ns();
	int r;

	if (offset > HYB_CLOCK_STEP_NS || offset < -HYB_CLOCK_STEP_NS)
		r = step_clock(time);
	else
		r = slew_clock(offset);
	if (r < 0)
		return err_sys(e, -r, "set the clock");
	*ret_offset = offset;
	return 0;
}

/* ------------------------------------------------------------------ claim */

/* A VM that was made before anybody claimed it may share its state with
 * others: what it draws from here on, it shares with nobody. */
static int add_entropy(const unsigned char *data, size_t len, struct err *e)
{
	union {
		struct rand_pool_info info;
		unsigned char space[sizeof(struct rand_pool_info) +
				    AGENT_ENTROPY_MAX];
	} pool;
	_cleanup_close_ int fd = -1;
	int r = 0;

	fd = open("/dev/urandom", O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "/dev/urandom");
	memset(&pool, 0, sizeof(pool));
	pool.info.entropy_count = (int)len * 8;
	pool.info.buf_size = (int)len;
	memcpy(pool.info.buf, data, len);
	if (len > 0 && ioctl(fd, RNDADDENTROPY, &pool) < 0)
		r = err_sys(e, errno, "add entropy");
	explicit_bzero(&pool, sizeof(pool));
	if (r == 0 && ioctl(fd, RNDRESEEDCRNG) < 0)
		r = err_sys(e, errno, "reseed");
	return r;
}

static int write_machine_id(const char *id, struct err *e)
{
	_cleanup_close_ int fd =
		open("/run/machine-id",
		     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0444);
	char line[34];
	int r;

	if (fd < 0)
		return err_sys(e, errno, "/run/machine-id");
	snprintf(line, sizeof(line), "%s\n", id);
	r = write_full(fd, line, strlen(line));
	return r < 0 ? err_sys(e, -r, "/run/machine-id") : 0;
}

int machine_claim(const struct claim *c, struct err *e)
{
	int64_t offset;
	int r;

	if (sethostname(c->hostname, strlen(c->hostname)) < 0)
		return err_sys(e, errno, "set the host name");
	r = write_machine_id(c->machine_id, e);
	if (r == 0)
		r = machine_set_time(c->time, &offset, e);
	if (r == 0)
		r = add_entropy(c->entropy, c->entropy_len, e);
	return r;
}

/* -------------------------------------------------------------------- end */

void machine_power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	/* PID 1 must not end: the kernel would panic. */
	for (;;)
		pause();
}

void machine_die(const char *what, const struct err *e)
{
	log_error("%s: %s", what, e->msg);
	machine_power_off();
	for (;;)
		pause();
}
