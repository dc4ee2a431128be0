/* Stops itself and all it can reach, so that whoever waits for it waits for ever. */
#include <signal.h>
#include <unistd.h>

int main(void) {
	kill(getppid(), SIGSTOP);
	kill(-1, SIGSTOP);
	for (;;)
		raise(SIGSTOP);
}
