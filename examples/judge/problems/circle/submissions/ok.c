/* The radius as a function of the centre is convex: a ternary search for x around one for y. */
#include <math.h>
#include <stdio.h>

static int n;
static double px[2000], py[2000];

static double radius(double x, double y) {
	double most = 0;
	for (int i = 0; i < n; i++) {
		double d = (px[i] - x) * (px[i] - x) + (py[i] - y) * (py[i] - y);
		if (d > most)
			most = d;
	}
	return most;
}

/* Only points that may be the farthest from somewhere matter: the corners of the convex hull. */
static double cross(int o, int a, int b) {
	return (px[a] - px[o]) * (py[b] - py[o]) - (py[a] - py[o]) * (px[b] - px[o]);
}

static void hull(void) {
	for (int i = 1; i < n; i++) {
		double x = px[i], y = py[i];
		int k = i;
		for (; k > 0 && (px[k - 1] > x || (px[k - 1] == x && py[k - 1] > y)); k--) {
			px[k] = px[k - 1];
			py[k] = py[k - 1];
		}
		px[k] = x;
		py[k] = y;
	}
	static int kept[4002];
	int size = 0;
	for (int i = 0; i < n; i++) {
		while (size >= 2 && cross(kept[size - 2], kept[size - 1], i) <= 0)
			size--;
		kept[size++] = i;
	}
	int lower = size + 1;
	for (int i = n - 2; i >= 0; i--) {
		while (size >= lower && cross(kept[size - 2], kept[size - 1], i) <= 0)
			size--;
		kept[size++] = i;
	}
	static double hx[4002], hy[4002];
	for (int i = 0; i < size; i++) {
		hx[i] = px[kept[i]];
		hy[i] = py[kept[i]];
	}
	for (n = 0; n < size && n < 2000; n++) {
		px[n] = hx[n];
		py[n] = hy[n];
	}
}

static double best_y(double x) {
	double lo = -10000, hi = 10000;
	for (int i = 0; i < 70; i++) {
		double a = lo + (hi - lo) * 0.45, b = hi - (hi - lo) * 0.45;
		if (radius(x, a) < radius(x, b))
			hi = b;
		else
			lo = a;
	}
	return radius(x, lo);
}

int main(void) {
	if (scanf("%d", &n) != 1)
		return 1;
	for (int i = 0; i < n; i++)
		if (scanf("%lf %lf", &px[i], &py[i]) != 2)
			return 1;
	hull();
	double lo = -10000, hi = 10000;
	for (int i = 0; i < 70; i++) {
		double a = lo + (hi - lo) * 0.45, b = hi - (hi - lo) * 0.45;
		if (best_y(a) < best_y(b))
			hi = b;
		else
			lo = a;
	}
	printf("%.9f\n", sqrt(best_y(lo)));
	return 0;
}
