// Slow: relaxes every road in every round; a chain of n roads listed backwards takes n rounds.
#include <cstdio>
#include <vector>

int main() {
	int n, m, s, t;
	if (std::scanf("%d %d %d %d", &n, &m, &s, &t) != 4) return 1;
	std::vector<int> a(m), b(m), before(n + 1);
	std::vector<long long> w(m), dist(n + 1, -1);
	for (int i = 0; i < m; i++)
		if (std::scanf("%d %d %lld", &a[i], &b[i], &w[i]) != 3) return 1;
	dist[t] = 0;
	for (int round = 0; round < 10 * n; round++) {
		for (int i = 0; i < m; i++) {
			if (dist[a[i]] >= 0 && (dist[b[i]] < 0 || dist[a[i]] + w[i] < dist[b[i]])) {
				dist[b[i]] = dist[a[i]] + w[i];
				before[b[i]] = a[i];
			}
			if (dist[b[i]] >= 0 && (dist[a[i]] < 0 || dist[b[i]] + w[i] < dist[a[i]])) {
				dist[a[i]] = dist[b[i]] + w[i];
				before[a[i]] = b[i];
			}
		}
	}
	std::printf("%lld\n", dist[s]);
	if (dist[s] < 0) return 0;
	for (int v = s; v != t; v = before[v]) std::printf("%d ", v);
	std::printf("%d\n", t);
}
