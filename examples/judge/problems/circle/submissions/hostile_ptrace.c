/* Traces, to read and change what another process does. */
#include <stdio.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <unistd.h>

int main(void) {
	if (ptrace(PTRACE_TRACEME, 0, 0, 0) == 0)
		printf("DONE ptrace\n");
	return 0;
}
