/* Overruns the stack: SIGSEGV. */
#include <stdio.h>

static int depth(volatile int *above) {
	volatile int here[1024] = {0};
	here[0] = above[0] + 1;
	return depth(here) + here[0];
}

int main(void) {
	volatile int start = 0;
	printf("%d\n", depth(&start));
	return 0;
}
