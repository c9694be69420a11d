/* SPDX-License-Identifier: Apache-2.0 */
#include "host-agent/cli/cli.h"

#include <fcntl.h>
#include <unistd.h>

/* A caller may have closed a standard stream: then the next descriptor, hybd's
 * socket, would take its place, and tables be written to it. Read-only: what
 * is written there fails, and is told. */
static void open_standard_streams(void)
{
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) < 0)
			_exit(CLI_FAILED);
}

int main(int argc, char **argv)
{
	open_standard_streams();
	return cli_main(argc, argv);
}
