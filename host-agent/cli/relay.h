/* SPDX-License-Identifier: Apache-2.0 */
/* Two stream sockets connected to each other. */
#ifndef HYB_HOST_AGENT_CLI_RELAY_H
#define HYB_HOST_AGENT_CLI_RELAY_H

/* Copies both ways until both directions have ended or one has failed; the end
 * of one direction becomes a half-close. Both stay the caller's. */
void relay_run(int a, int b);

#endif
