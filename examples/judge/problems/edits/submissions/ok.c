#include <stdio.h>
#include <string.h>

static char a[5001], b[5001];
static int row[5001];

int main(void) {
	if (scanf("%5000s %5000s", a, b) != 2)
		return 1;
	int n = strlen(a), m = strlen(b);
	for (int j = 0; j <= m; j++)
		row[j] = j;
	for (int i = 1; i <= n; i++) {
		int diagonal = row[0];
		row[0] = i;
		for (int j = 1; j <= m; j++) {
			int best = diagonal + (a[i - 1] != b[j - 1]);
			diagonal = row[j];
			if (row[j] + 1 < best)
				best = row[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
		}
	}
	printf("%d\n", row[m]);
	return 0;
}
