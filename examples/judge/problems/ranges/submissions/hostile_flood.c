/* Floods both streams, without end. */
#include <string.h>
#include <unistd.h>

int main(void) {
	static char page[65536];
	memset(page, 'x', sizeof page);
	for (;;) {
		if (write(1, page, sizeof page) < 0 && write(2, page, sizeof page) < 0)
			continue;
		if (write(2, page, sizeof page) < 0)
			continue;
	}
}
