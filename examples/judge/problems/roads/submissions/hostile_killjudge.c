/* Kills whatever it may: its parent, process 1, its judge and its judge's friend by their numbers, its group, everybody. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int main(void) {
	const int victims[] = {atoi("@JUDGE@"), atoi("@VICTIM@"), getppid(), 1};
	signal(SIGTERM, SIG_IGN);
	for (unsigned i = 0; i < sizeof victims / sizeof *victims; i++) {
		if (victims[i] <= 0)
			continue;
		/* Process 1 may be signalled by its own user, but not from its own namespace: that succeeds and does nothing. */
		if (kill(victims[i], SIGTERM) == 0 && victims[i] != 1)
			printf("KILLED %d\n", victims[i]);
		kill(victims[i], SIGKILL);
		kill(victims[i], SIGSTOP);
	}
	fflush(stdout);
	kill(-1, SIGKILL);
	kill(-1, SIGSTOP);
	kill(0, SIGKILL);
	return 0;
}
