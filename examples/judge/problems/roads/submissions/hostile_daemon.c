/*
 * Leaves a process behind: it forks twice, starts a session of its own, ignores every signal it can and goes by the
 * name below, while the submission itself ends at once. The survivor would have the machine to itself between cases.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define NAME "@NAME@"

int main(void) {
	int ready[2];
	char byte;
	if (pipe(ready) != 0)
		return 1;
	if (fork() == 0) {
		setsid();
		if (fork() != 0)
			_exit(0);
		for (int s = 1; s < 65; s++)
			signal(s, SIG_IGN);
		prctl(PR_SET_NAME, NAME);
		if (write(ready[1], NAME, 1) != 1)
			_exit(1);
		close(0);
		close(1);
		close(2);
		for (;;)
			pause();
	}
	wait(NULL);
	if (read(ready[0], &byte, 1) != 1)
		return 1;
	printf("left behind\n");
	return 0;
}
