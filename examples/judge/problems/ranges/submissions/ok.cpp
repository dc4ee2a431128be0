// Blocks of about 220 numbers, each with a pending multiplication and addition.
#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

constexpr long long mod = 1000000007;
constexpr int width = 220;

struct Block {
	std::vector<long long> value;
	long long sum = 0, mul = 1, add = 0;

	void settle() {
		sum = 0;
		for (auto &v : value) {
			v = (v * mul + add) % mod;
			sum += v;
		}
		sum %= mod;
		mul = 1;
		add = 0;
	}
	void change(int l, int r, long long m, long long a) {  // the part [l, r)
		if (l == 0 && r == (int)value.size()) {
			mul = mul * m % mod;
			add = (add * m + a) % mod;
			sum = (sum * m + a * (r - l)) % mod;
			return;
		}
		settle();
		for (int i = l; i < r; i++) value[i] = (value[i] * m + a) % mod;
		settle();
	}
	long long total(int l, int r) {
		if (l == 0 && r == (int)value.size()) return sum;
		settle();
		long long s = 0;
		for (int i = l; i < r; i++) s += value[i];
		return s % mod;
	}
};

int main() {
	int n, q;
	if (std::scanf("%d %d", &n, &q) != 2) return 1;
	std::vector<Block> blocks((n + width - 1) / width);
	for (int i = 0; i < n; i++) {
		long long v;
		if (std::scanf("%lld", &v) != 1) return 1;
		blocks[i / width].value.push_back(v);
	}
	for (auto &b : blocks) b.settle();
	while (q-- > 0) {
		char kind[4];
		int l, r;
		long long x = 0, sum = 0;
		if (std::scanf("%3s %d %d", kind, &l, &r) != 3) return 1;
		const bool asks = kind[0] == 's';
		if (!asks && std::scanf("%lld", &x) != 1) return 1;
		l--;
		for (int b = l / width; b * width < r; b++) {
			int from = std::max(l - b * width, 0), to = std::min(r - b * width, (int)blocks[b].value.size());
			if (asks)
				sum += blocks[b].total(from, to);
			else if (kind[0] == 'a')
				blocks[b].change(from, to, 1, x);
			else
				blocks[b].change(from, to, x, 0);
		}
		if (asks) std::printf("%lld\n", sum % mod);
	}
}
