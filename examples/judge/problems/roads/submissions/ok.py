import heapq
import sys


def main():
    data = list(map(int, sys.stdin.buffer.read().split()))
    n, m, s, t = data[:4]
    roads = [[] for _ in range(n + 1)]
    for i in range(4, 4 + 3 * m, 3):
        a, b, w = data[i : i + 3]
        roads[a].append((b, w))
        roads[b].append((a, w))
    far = 1 << 60
    dist, before = [far] * (n + 1), [0] * (n + 1)
    dist[s] = 0
    queue = [(0, s)]
    while queue:
        d, v = heapq.heappop(queue)
        if d > dist[v]:
            continue
        for u, w in roads[v]:
            if d + w < dist[u]:
                dist[u], before[u] = d + w, v
                heapq.heappush(queue, (d + w, u))
    if dist[t] == far:
        print(-1)
        return
    path = [t]
    while path[-1] != s:
        path.append(before[path[-1]])
    print(dist[t])
    print(*reversed(path))


main()
