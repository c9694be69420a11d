/* SPDX-License-Identifier: Apache-2.0 */
/* The content of one folder into another, for a tmpfs that begins as what it
 * covers (tmpcopyup). Allocates nothing; follows no link. */
#ifndef HYB_GUEST_SYS_COPYUP_H
#define HYB_GUEST_SYS_COPYUP_H

#include <stdbool.h>

/* Deepest tree that is copied: each level takes stack and two descriptors. */
#define HYB_COPYUP_DEPTH 32

/* Copies all below the folder `from` (any descriptor of it) into the folder
 * `to`: folders, files, symbolic links and FIFOs with owner, mode and times;
 * sockets and devices are left out, hard links become files of their own. And
 * owner and mode of the folder itself, the latter unless it has been chosen
 * (keep_mode). 0 or -errno; -ELOOP: too deep. */
int copyup_dir(int from, int to, bool keep_mode);

#endif
