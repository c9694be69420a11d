/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HYB_COMMON_BASE_UUID_H
#define HYB_COMMON_BASE_UUID_H

/* A random (version 4) UUID, RFC 4122. */
void uuid_random(char out[37]);

#endif
