# Wrong: right sums, but all on one line.
import sys

data = sys.stdin.buffer.read().split()
n, q = int(data[0]), int(data[1])
values = list(map(int, data[2 : 2 + n]))
at, out = 2 + n, []
for _ in range(q):
    kind, left, right = data[at], int(data[at + 1]) - 1, int(data[at + 2])
    at += 3
    if kind == b"sum":
        out.append(sum(values[left:right]) % 1000000007)
        continue
    x = int(data[at])
    at += 1
    for i in range(left, right):
        values[i] = (values[i] + x if kind == b"add" else values[i] * x) % 1000000007
print(*out)
