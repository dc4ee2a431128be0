// Slow: the definition, with no memory for what has been worked out.
#include <algorithm>
#include <iostream>
#include <string>

static std::string a, b;

static int distance(int i, int j) {
	if (i == 0 || j == 0) return i + j;
	return std::min({distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]), distance(i - 1, j) + 1, distance(i, j - 1) + 1});
}

int main() {
	std::cin >> a >> b;
	std::cout << distance(a.size(), b.size()) << '\n';
}
