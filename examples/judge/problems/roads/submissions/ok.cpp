#include <cstdio>
#include <queue>
#include <utility>
#include <vector>

int main() {
	int n, m, s, t;
	if (std::scanf("%d %d %d %d", &n, &m, &s, &t) != 4) return 1;
	std::vector<std::vector<std::pair<int, long long>>> roads(n + 1);
	while (m-- > 0) {
		int a, b;
		long long w;
		if (std::scanf("%d %d %lld", &a, &b, &w) != 3) return 1;
		roads[a].push_back({b, w});
		roads[b].push_back({a, w});
	}
	std::vector<long long> dist(n + 1, -1);
	std::vector<int> next(n + 1);
	std::priority_queue<std::pair<long long, int>> queue;
	// From the far end, so that the way can be printed as it is followed.
	dist[t] = 0;
	queue.push({0, t});
	while (!queue.empty()) {
		auto [d, v] = queue.top();
		queue.pop();
		if (-d > dist[v]) continue;
		for (auto [u, w] : roads[v]) {
			if (dist[u] < 0 || dist[v] + w < dist[u]) {
				dist[u] = dist[v] + w;
				next[u] = v;
				queue.push({-dist[u], u});
			}
		}
	}
	std::printf("%lld\n", dist[s]);
	if (dist[s] < 0) return 0;
	for (int v = s; v != t; v = next[v]) std::printf("%d ", v);
	std::printf("%d\n", t);
}
