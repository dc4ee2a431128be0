// Ends by an exception that nobody catches: SIGABRT.
#include <iostream>
#include <string>

int main() {
	std::string a, b;
	std::cin >> a >> b;
	std::cout << a.at(a.size()) << '\n';
}
