/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of what happens, by tenant; and who waits for a stack. */
#include "host-agent/reconcile/world.h"
#include "common/base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct world w;
static struct vm vms[2];

static void add_vm(struct vm *vm, const char *tenant, const char *stack)
{
	vm->world = &w;
	vm->wake = -1;
	snprintf(vm->tenant, sizeof(vm->tenant), "%s", tenant);
	snprintf(vm->stack, sizeof(vm->stack), "%s", stack);
	snprintf(vm->name, sizeof(vm->name), "vm");
	vm->next = w.vms;
	w.vms = vm;
}

static int setup(void **state)
{
	(void)state;
	pthread_mutex_init(&w.lock, NULL);
	pthread_cond_init(&w.changed, NULL);
	add_vm(&vms[0], "quiet", "s");
	add_vm(&vms[1], "loud", "s");
	return 0;
}

static int count(const char *tenant, uint64_t *at, char *last, size_t size)
{
	const struct world_event *ev;
	int n = 0;

	world_lock(&w);
	while ((ev = world_event_next(&w, tenant, at))) {
		snprintf(last, size, "%s %s %s", ev->object, ev->event,
			 ev->message);
		n++;
	}
	world_unlock(&w);
	return n;
}

static void tenants_have_rings(void **state)
{
	uint64_t quiet = 0, loud = 0, nobody = 0;
	char last[800] = "";
	int i;

	(void)state;
	assert_int_equal(count("quiet", &quiet, last, sizeof(last)), 0);
	vm_tell(&vms[0], "c", "failed", "exit code %d", 7);
	for (i = 0; i < 2 * WORLD_EVENTS_MAX; i++)
		vm_tell(&vms[1], "", "unhealthy", "%d", i);
	assert_int_equal(count("quiet", &quiet, last, sizeof(last)), 1);
	assert_string_equal(last, "s/vm/c failed exit code 7");
	assert_int_equal(count("loud", &loud, last, sizeof(last)),
			 WORLD_EVENTS_MAX);
	snprintf(last + strlen(last), sizeof(last) - strlen(last), ";");
	assert_string_equal(last, "s/vm unhealthy 1023;");
	/* From there on. */
	vm_tell(&vms[1], "", "healthy", "%s", "");
	assert_int_equal(count("loud", &loud, last, sizeof(last)), 1);
	assert_string_equal(last, "s/vm healthy ");
	assert_int_equal(count("quiet", &quiet, last, sizeof(last)), 0);
	assert_int_equal(count("nobody", &nobody, last, sizeof(last)), 0);
}

static int told(void *arg, const struct progress *p)
{
	(void)p;
	++*(int *)arg;
	return 0;
}

static void waits_have_ends(void **state)
{
	struct err e = ERR_INIT;
	int n = 0;

	(void)state;
	/* Nothing is wished of it. */
	assert_int_equal(world_settle(&w, "quiet", "s", 0, told, &n, &e), 0);
	vms[0].wanted = 1;
	assert_int_equal(world_settle(&w, "quiet", "s", 0, told, &n, &e),
			 -ETIMEDOUT);
	assert_string_equal(e.msg, "stack 's': timed out: vm is pending");
	/* Another tenant's stack of that name is another. */
	assert_int_equal(world_settle(&w, "loud", "s", 0, told, &n, &e), 0);
	vms[0].settled = 1;
	err_set(&vms[0].failure, EINVAL, "no command");
	assert_int_equal(world_settle(&w, "quiet", "s", 0, told, &n, &e),
			 -ENOEXEC);
	assert_string_equal(e.msg, "no command");
	assert_int_equal(n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tenants_have_rings),
		cmocka_unit_test(waits_have_ends),
	};

	log_init("test", LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, setup, NULL);
}
