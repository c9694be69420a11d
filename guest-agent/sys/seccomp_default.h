/* SPDX-License-Identifier: Apache-2.0 */
/* The default profile as a table. */
#ifndef HYB_GUEST_SYS_SECCOMP_DEFAULT_H
#define HYB_GUEST_SYS_SECCOMP_DEFAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Allowed whatever the arguments. */
extern const int seccomp_allowed[];
extern const size_t seccomp_allowed_n;
/* Address families of socket(). */
extern const uint32_t seccomp_families[];
extern const size_t seccomp_families_n;
/* Values of personality(). */
extern const uint32_t seccomp_personalities[];
extern const size_t seccomp_personalities_n;
/* Calls newer than what libseccomp's table ends with. */
struct seccomp_new_call {
	const char *name;
	int nr;
	bool allowed; /* by the default profile; else ENOSYS */
};
extern const struct seccomp_new_call seccomp_new_calls[];
extern const size_t seccomp_new_calls_n;
/* The first number that libseccomp 2.5.4 does not know. */
#define HYB_SECCOMP_FIRST_NEW 451

#endif
