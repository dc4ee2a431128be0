# Wrong: the length is right, but the way printed is only its two ends.
import heapq
import sys

data = list(map(int, sys.stdin.buffer.read().split()))
n, m, s, t = data[:4]
roads = [[] for _ in range(n + 1)]
for i in range(4, 4 + 3 * m, 3):
    a, b, w = data[i : i + 3]
    roads[a].append((b, w))
    roads[b].append((a, w))
dist = {}
queue = [(0, s)]
while queue:
    d, v = heapq.heappop(queue)
    if v in dist:
        continue
    dist[v] = d
    for u, w in roads[v]:
        heapq.heappush(queue, (d + w, u))
print(dist.get(t, -1))
if t in dist:
    print(s, t)
