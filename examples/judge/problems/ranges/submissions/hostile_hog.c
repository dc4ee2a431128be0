/* Takes all memory there is and touches every page, so that promises do not count. */
#include <stdlib.h>
#include <string.h>

int main(void) {
	for (;;) {
		char *p = malloc(1 << 20);
		if (p)
			memset(p, 0xA5, 1 << 20);
	}
}
