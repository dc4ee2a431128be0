/* Slow: does to every number of a range what the query says. */
#include <stdio.h>

static long long value[50001];

int main(void) {
	const long long mod = 1000000007;
	int n, q;
	if (scanf("%d %d", &n, &q) != 2)
		return 1;
	for (int i = 1; i <= n; i++)
		if (scanf("%lld", &value[i]) != 1)
			return 1;
	while (q-- > 0) {
		char kind[4];
		int l, r;
		long long x = 0, sum = 0;
		if (scanf("%3s %d %d", kind, &l, &r) != 3)
			return 1;
		if (kind[0] != 's' && scanf("%lld", &x) != 1)
			return 1;
		for (int i = l; i <= r; i++) {
			if (kind[0] == 'a')
				value[i] = (value[i] + x) % mod;
			else if (kind[0] == 'm')
				value[i] = value[i] * x % mod;
			else
				sum = (sum + value[i]) % mod;
		}
		if (kind[0] == 's')
			printf("%lld\n", sum);
	}
	return 0;
}
