#include <algorithm>
#include <iostream>
#include <numeric>
#include <string>
#include <vector>

int main() {
	std::string a, b;
	std::cin >> a >> b;
	std::vector<int> above(b.size() + 1), row(b.size() + 1);
	std::iota(above.begin(), above.end(), 0);
	for (std::size_t i = 0; i < a.size(); i++) {
		row[0] = i + 1;
		for (std::size_t j = 0; j < b.size(); j++)
			row[j + 1] = std::min({above[j] + (a[i] != b[j]), above[j + 1] + 1, row[j] + 1});
		std::swap(row, above);
	}
	std::cout << above.back() << '\n';
}
