/* Wrong: an addition to a range counts once, not once for each of its numbers. */
#include <stdio.h>

#define MOD 1000000007LL
#define MAXN 50000

static long long sum[4 * MAXN], mul[4 * MAXN], add[4 * MAXN];

static void build(int node, int lo, int hi) {
	mul[node] = 1;
	if (lo == hi) {
		if (scanf("%lld", &sum[node]) != 1)
			sum[node] = 0;
		return;
	}
	int mid = (lo + hi) / 2;
	build(2 * node, lo, mid);
	build(2 * node + 1, mid + 1, hi);
	sum[node] = (sum[2 * node] + sum[2 * node + 1]) % MOD;
}

static void apply(int node, int width, long long m, long long a) {
	sum[node] = (sum[node] * m + a) % MOD;
	mul[node] = mul[node] * m % MOD;
	add[node] = (add[node] * m + a) % MOD;
}

static void push(int node, int lo, int mid, int hi) {
	apply(2 * node, mid - lo + 1, mul[node], add[node]);
	apply(2 * node + 1, hi - mid, mul[node], add[node]);
	mul[node] = 1;
	add[node] = 0;
}

static void update(int node, int lo, int hi, int l, int r, long long m, long long a) {
	if (r < lo || hi < l)
		return;
	if (l <= lo && hi <= r) {
		apply(node, hi - lo + 1, m, a);
		return;
	}
	int mid = (lo + hi) / 2;
	push(node, lo, mid, hi);
	update(2 * node, lo, mid, l, r, m, a);
	update(2 * node + 1, mid + 1, hi, l, r, m, a);
	sum[node] = (sum[2 * node] + sum[2 * node + 1]) % MOD;
}

static long long query(int node, int lo, int hi, int l, int r) {
	if (r < lo || hi < l)
		return 0;
	if (l <= lo && hi <= r)
		return sum[node];
	int mid = (lo + hi) / 2;
	push(node, lo, mid, hi);
	return (query(2 * node, lo, mid, l, r) + query(2 * node + 1, mid + 1, hi, l, r)) % MOD;
}

int main(void) {
	int n, q;
	if (scanf("%d %d", &n, &q) != 2)
		return 1;
	build(1, 1, n);
	while (q-- > 0) {
		char kind[4];
		int l, r;
		long long x;
		if (scanf("%3s %d %d", kind, &l, &r) != 3)
			return 1;
		if (kind[0] == 's') {
			printf("%lld\n", query(1, 1, n, l, r));
			continue;
		}
		if (scanf("%lld", &x) != 1)
			return 1;
		if (kind[0] == 'a')
			update(1, 1, n, l, r, 1, x);
		else
			update(1, 1, n, l, r, x, 0);
	}
	return 0;
}
