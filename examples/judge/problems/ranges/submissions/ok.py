import sys

MOD = 1000000007


def main():
    data = sys.stdin.buffer.read().split()
    n, q = int(data[0]), int(data[1])
    log = max(1, (n - 1).bit_length())
    size = 1 << log
    total = [0] * size + list(map(int, data[2 : 2 + n])) + [0] * (size - n)
    for i in range(size - 1, 0, -1):
        total[i] = (total[2 * i] + total[2 * i + 1]) % MOD
    mul, add = [1] * (2 * size), [0] * (2 * size)
    width = [0] + [size >> (i.bit_length() - 1) for i in range(1, 2 * size)]

    def push(i):
        m, a = mul[i], add[i]
        if m == 1 and a == 0:
            return
        half = width[i] >> 1
        for c in (2 * i, 2 * i + 1):
            total[c] = (total[c] * m + half * a) % MOD
            mul[c] = mul[c] * m % MOD
            add[c] = (add[c] * m + a) % MOD
        mul[i], add[i] = 1, 0

    def parts(left, right):
        """The nodes that make up [left, right), with all above them settled."""
        left, right = left + size, right + size
        for s in range(log, 0, -1):
            push(left >> s)
            push((right - 1) >> s)
        found = []
        while left < right:
            if left & 1:
                found.append(left)
                left += 1
            if right & 1:
                right -= 1
                found.append(right)
            left >>= 1
            right >>= 1
        return found

    out = []
    at = 2 + n
    for _ in range(q):
        kind, left, right = data[at], int(data[at + 1]) - 1, int(data[at + 2])
        at += 3
        nodes = parts(left, right)
        if kind == b"sum":
            out.append(sum(total[i] for i in nodes) % MOD)
            continue
        m, a = (1, int(data[at])) if kind == b"add" else (int(data[at]), 0)
        at += 1
        for i in nodes:
            total[i] = (total[i] * m + width[i] * a) % MOD
            mul[i] = mul[i] * m % MOD
            add[i] = (add[i] * m + a) % MOD
        for end in (left + size, right - 1 + size):
            i = end >> 1
            while i:
                if mul[i] == 1 and add[i] == 0:
                    total[i] = (total[2 * i] + total[2 * i + 1]) % MOD
                i >>= 1
    print("\n".join(map(str, out)))


main()
