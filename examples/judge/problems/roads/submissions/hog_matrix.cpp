// Too big: a matrix of all pairs of towns, 3 GB at the limit.
#include <algorithm>
#include <cstdio>
#include <vector>

int main() {
	const long long far = 1LL << 60;
	int n, m, s, t;
	if (std::scanf("%d %d %d %d", &n, &m, &s, &t) != 4) return 1;
	std::vector<std::vector<long long>> roads(n + 1, std::vector<long long>(n + 1, far));
	while (m-- > 0) {
		int a, b;
		long long w;
		if (std::scanf("%d %d %lld", &a, &b, &w) != 3) return 1;
		roads[a][b] = std::min(roads[a][b], w);
		roads[b][a] = std::min(roads[b][a], w);
	}
	std::vector<long long> dist(n + 1, far);
	std::vector<int> next(n + 1), done(n + 1);
	dist[t] = 0;
	for (;;) {
		int v = 0;
		for (int u = 1; u <= n; u++)
			if (!done[u] && dist[u] < far && (v == 0 || dist[u] < dist[v])) v = u;
		if (v == 0) break;
		done[v] = 1;
		for (int u = 1; u <= n; u++)
			if (roads[v][u] < far && dist[v] + roads[v][u] < dist[u]) {
				dist[u] = dist[v] + roads[v][u];
				next[u] = v;
			}
	}
	if (dist[s] == far) return std::puts("-1"), 0;
	std::printf("%lld\n", dist[s]);
	for (int v = s; v != t; v = next[v]) std::printf("%d ", v);
	std::printf("%d\n", t);
}
