/* Too big: keeps the whole table of 25 million numbers. */
#include <stdio.h>
#include <string.h>

static char a[5001], b[5001];
static int table[5001][5001];

int main(void) {
	if (scanf("%5000s %5000s", a, b) != 2)
		return 1;
	int n = strlen(a), m = strlen(b);
	for (int i = 0; i <= n; i++)
		for (int j = 0; j <= m; j++) {
			if (i == 0 || j == 0) {
				table[i][j] = i + j;
				continue;
			}
			int best = table[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
			if (table[i - 1][j] + 1 < best)
				best = table[i - 1][j] + 1;
			if (table[i][j - 1] + 1 < best)
				best = table[i][j - 1] + 1;
			table[i][j] = best;
		}
	printf("%d\n", table[n][m]);
	return 0;
}
