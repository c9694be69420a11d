/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HYB_TESTS_GUEST_VSOCK_PORTS_H
#define HYB_TESTS_GUEST_VSOCK_PORTS_H

#define PORT_ECHO   7	 /* sends back what it gets */
#define PORT_SINK   9	 /* reads to the end; u64 bytes, u64 wrong ones */
#define PORT_SOURCE 19	 /* u64 in; that many bytes out */
#define PORT_DIAL   15	 /* int32 errno of a connect() to the host */
#define PORT_STUCK  13	 /* accepts and never reads */
#define PORT_MEMORY 21	 /* u64 bytes of the guest's memory in use */
#define PORT_AGENT  1024 /* Forward: any call is answered, then as PORT_ECHO */
#define PORT_OFF    17	 /* powers off */
#define PORT_NOBODY 999	 /* nobody listens */

#endif
