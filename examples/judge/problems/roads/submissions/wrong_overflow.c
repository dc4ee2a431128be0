/* Wrong: a way of a few long roads does not fit an int. */
#include <stdio.h>
#include <stdlib.h>

#define MAXN 20001
#define MAXM 60001

static int head[MAXN], next[2 * MAXM], to[2 * MAXM], before[MAXN], path[MAXN];
static int weight[2 * MAXM], dist[MAXN];

/* A binary heap of (distance, town); stale entries are skipped when they surface. */
static struct entry { int d; int v; } heap[2 * MAXM + 1];
static int size;

static void push(int d, int v) {
	int i = ++size;
	for (; i > 1 && heap[i / 2].d > d; i /= 2)
		heap[i] = heap[i / 2];
	heap[i].d = d;
	heap[i].v = v;
}

static struct entry pop(void) {
	struct entry top = heap[1], last = heap[size--];
	int i = 1;
	while (2 * i <= size) {
		int c = 2 * i;
		if (c < size && heap[c + 1].d < heap[c].d)
			c++;
		if (heap[c].d >= last.d)
			break;
		heap[i] = heap[c];
		i = c;
	}
	heap[i] = last;
	return top;
}

int main(void) {
	int n, m, s, t, edges = 0;
	if (scanf("%d %d %d %d", &n, &m, &s, &t) != 4)
		return 1;
	for (int i = 0; i < m; i++) {
		int a, b;
		int w;
		if (scanf("%d %d %d", &a, &b, &w) != 3)
			return 1;
		edges++; to[edges] = b; weight[edges] = w; next[edges] = head[a]; head[a] = edges;
		edges++; to[edges] = a; weight[edges] = w; next[edges] = head[b]; head[b] = edges;
	}
	for (int v = 1; v <= n; v++)
		dist[v] = -1;
	dist[s] = 0;
	push(0, s);
	while (size > 0) {
		struct entry e = pop();
		if (e.d > dist[e.v])
			continue;
		for (int k = head[e.v]; k; k = next[k]) {
			int d = e.d + weight[k];
			if (dist[to[k]] < 0 || d < dist[to[k]]) {
				dist[to[k]] = d;
				before[to[k]] = e.v;
				push(d, to[k]);
			}
		}
	}
	printf("%d\n", dist[t]);
	if (dist[t] < 0)
		return 0;
	int count = 0;
	for (int v = t; v != s && count < n; v = before[v])
		path[count++] = v;
	printf("%d", s);
	while (count > 0)
		printf(" %d", path[--count]);
	printf("\n");
	return 0;
}
