/* A short source, a program of a gigabyte. */
__asm__(".data\n.fill 1073741824, 1, 65\n");

int main(void) { return 0; }
