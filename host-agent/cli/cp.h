/* SPDX-License-Identifier: Apache-2.0 */
/* Tar streams of hyb cp: to and from frames. */
#ifndef HYB_HOST_AGENT_CLI_CP_H
#define HYB_HOST_AGENT_CLI_CP_H

#include "common/tree/wire.h"

/* Frames up to TREE_END as a PAX tar on fd. base: what the root is called; "":
 * "." */
int cp_tar_write(struct tree_wire *w, int fd, const char *base,
		 struct tree_end *sender, struct err *e);
/* A tar from fd as frames, without the TREE_END. Names that are absolute or
 * lead upwards are refused, devices counted in end->skipped. Blocks of zeros
 * become holes. flags: with TREE_WHOLE the archive's own "./" is the root, and
 * more attributes are taken. */
int cp_tar_read(struct tree_wire *w, int fd, uint32_t flags,
		struct tree_end *end, struct err *e);
/* What the receiver has to say when all was sent; before what sending said, for
 * it is the reason. *bytes: what it wrote. */
int cp_last_word(struct tree_wire *w, uint64_t *bytes, struct err *e);

#endif
