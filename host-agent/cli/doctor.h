/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of the host that need no hybd. */
#ifndef HYB_HOST_AGENT_CLI_DOCTOR_H
#define HYB_HOST_AGENT_CLI_DOCTOR_H

#include <jansson.h>

/* Adds {name,status,message,hint} to the array; status ok, warn or fail. */
void doctor_add(json_t *checks, const char *name, const char *status,
		const char *hint, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));

/* The host's checks, in the order in which they are shown. */
void doctor_host(json_t *checks, const char *root);
/* KVM, by running three instructions on it: a device that opens is not
 * enough. */
void doctor_kvm(json_t *checks);

#endif
