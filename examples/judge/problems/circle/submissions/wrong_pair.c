/* Wrong: half the distance of the two points farthest apart. Three points may need more. */
#include <math.h>
#include <stdio.h>

static double x[2000], y[2000];

int main(void) {
	int n;
	double most = 0;
	if (scanf("%d", &n) != 1)
		return 1;
	for (int i = 0; i < n; i++)
		if (scanf("%lf %lf", &x[i], &y[i]) != 2)
			return 1;
	for (int i = 0; i < n; i++)
		for (int j = 0; j < i; j++)
			most = fmax(most, hypot(x[i] - x[j], y[i] - y[j]));
	printf("%.9f\n", most / 2);
	return 0;
}
