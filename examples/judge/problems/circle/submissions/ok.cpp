#include <algorithm>
#include <cmath>
#include <complex>
#include <cstdio>
#include <random>
#include <vector>

using point = std::complex<double>;

struct circle {
	point centre;
	double radius;
	bool holds(point p) const { return std::abs(p - centre) <= radius * (1 + 1e-12) + 1e-9; }
};

static circle around(point a, point b) { return {(a + b) / 2.0, std::abs(a - b) / 2}; }

static circle around(point a, point b, point c) {
	b -= a, c -= a;
	double det = 2 * (b.real() * c.imag() - b.imag() * c.real());
	if (det == 0) {
		circle best = around(a, a + b);
		for (circle o : {around(a, a + c), around(a + b, a + c)})
			if (o.radius > best.radius) best = o;
		return best;
	}
	point m((c.imag() * std::norm(b) - b.imag() * std::norm(c)) / det,
			(b.real() * std::norm(c) - c.real() * std::norm(b)) / det);
	return {a + m, std::abs(m)};
}

int main() {
	int n;
	if (std::scanf("%d", &n) != 1) return 1;
	std::vector<point> p(n);
	for (auto &q : p) {
		double x, y;
		if (std::scanf("%lf %lf", &x, &y) != 2) return 1;
		q = {x, y};
	}
	std::shuffle(p.begin(), p.end(), std::mt19937(7));
	circle c{p[0], 0};
	for (int i = 1; i < n; i++) {
		if (c.holds(p[i])) continue;
		c = {p[i], 0};
		for (int j = 0; j < i; j++) {
			if (c.holds(p[j])) continue;
			c = around(p[i], p[j]);
			for (int k = 0; k < j; k++)
				if (!c.holds(p[k])) c = around(p[i], p[j], p[k]);
		}
	}
	std::printf("%.9f\n", c.radius);
}
