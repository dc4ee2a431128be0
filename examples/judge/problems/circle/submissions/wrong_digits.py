# Wrong: one digit after the point is not enough.
import random
import sys


def main():
    data = list(map(int, sys.stdin.buffer.read().split()))
    points = list({complex(x, y) for x, y in zip(data[1::2], data[2::2])})
    random.Random(5).shuffle(points)

    def outside(p, centre, radius):
        return abs(p - centre) > radius * (1 + 1e-12) + 1e-9

    def two(a, b):
        return (a + b) / 2, abs(a - b) / 2

    def three(a, b, c):
        b, c = b - a, c - a
        det = 2 * (b.real * c.imag - b.imag * c.real)
        if det == 0:
            pairs = (two(a, a + b), two(a, a + c), two(a + b, a + c))
            return max(pairs, key=lambda pair: pair[1])
        bb, cc = abs(b) ** 2, abs(c) ** 2
        m = complex((c.imag * bb - b.imag * cc) / det, (b.real * cc - c.real * bb) / det)
        return a + m, abs(m)

    centre, radius = points[0], 0.0
    for i, p in enumerate(points):
        if not outside(p, centre, radius):
            continue
        centre, radius = p, 0.0
        for j in range(i):
            q = points[j]
            if not outside(q, centre, radius):
                continue
            centre, radius = two(p, q)
            for k in range(j):
                if outside(points[k], centre, radius):
                    centre, radius = three(p, q, points[k])
    print(f"{radius:.1f}")


main()
