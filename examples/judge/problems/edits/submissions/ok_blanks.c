/* Right, but for blanks and empty lines around the answer: the checker of this problem compares words. */
#include <stdio.h>
#include <string.h>

static char a[5001], b[5001];
static int row[2][5001];

int main(void) {
	if (scanf("%5000s %5000s", a, b) != 2)
		return 1;
	int n = strlen(a), m = strlen(b);
	for (int i = 0; i <= n; i++) {
		int *now = row[i % 2], *above = row[1 - i % 2];
		for (int j = 0; j <= m; j++) {
			if (i == 0 || j == 0) {
				now[j] = i + j;
				continue;
			}
			now[j] = above[j - 1] + (a[i - 1] != b[j - 1]);
			if (above[j] + 1 < now[j])
				now[j] = above[j] + 1;
			if (now[j - 1] + 1 < now[j])
				now[j] = now[j - 1] + 1;
		}
	}
	printf("\n \t  %d  \r\n\n", row[n % 2][m]);
	return 0;
}
