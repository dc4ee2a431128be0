/* Aborts: believes that there are at most two towns. */
#include <assert.h>
#include <stdio.h>

int main(void) {
	int n, m, s, t;
	if (scanf("%d %d %d %d", &n, &m, &s, &t) != 4)
		return 1;
	assert(n < 3);
	printf("-1\n");
	return 0;
}
