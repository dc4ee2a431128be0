# Slow: the circle of every three points, held against every point.
import sys
from itertools import combinations

data = list(map(int, sys.stdin.read().split()))
points = list(zip(data[1::2], data[2::2]))


def three(a, b, c):
    bx, by, cx, cy = b[0] - a[0], b[1] - a[1], c[0] - a[0], c[1] - a[1]
    det = 2 * (bx * cy - by * cx)
    if det == 0:
        return None
    x = (cy * (bx * bx + by * by) - by * (cx * cx + cy * cy)) / det
    y = (bx * (cx * cx + cy * cy) - cx * (bx * bx + by * by)) / det
    return a[0] + x, a[1] + y, x * x + y * y


best = 0.0 if len(set(points)) == 1 else float("inf")
for a, b in combinations(points, 2):
    x, y, r = (a[0] + b[0]) / 2, (a[1] + b[1]) / 2, ((a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2) / 4
    if all((p - x) ** 2 + (q - y) ** 2 <= r + 1e-6 for p, q in points):
        best = min(best, r)
for triple in combinations(points, 3):
    disc = three(*triple)
    if disc and max((x - disc[0]) ** 2 + (y - disc[1]) ** 2 for x, y in points) <= disc[2] + 1e-6:
        best = min(best, disc[2])
print(f"{best ** 0.5:.9f}")
