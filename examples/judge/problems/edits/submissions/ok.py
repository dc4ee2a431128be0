# The bit-parallel algorithm of Myers: a column of the table is two long numbers.
import sys


def main():
    a, b = sys.stdin.read().split()
    places = {}
    for i, c in enumerate(a):
        places[c] = places.get(c, 0) | 1 << i
    full, last = (1 << len(a)) - 1, 1 << len(a) - 1
    up, down, score = full, 0, len(a)
    for c in b:
        match = places.get(c, 0)
        diagonal = (((match & up) + up) ^ up) | match | down
        right = down | ~(diagonal | up) & full
        left = up & diagonal
        if right & last:
            score += 1
        if left & last:
            score -= 1
        right = right << 1 | 1
        left <<= 1
        up = (left | ~(diagonal | right)) & full
        down = right & diagonal & full
    print(score)


main()
