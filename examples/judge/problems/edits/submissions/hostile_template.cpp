// A type of 2^30 parts: the compiler never gets to the program.
template <int N, int M>
struct tree {
	tree<N - 1, 2 * M> left;
	tree<N - 1, 2 * M + 1> right;
};
template <int M>
struct tree<0, M> {
	int leaf;
};

int main() { return sizeof(tree<29, 1>) != 0; }
