/* Wrong: not a number is not near any number. */
#include <stdio.h>

int main(void) {
	printf("nan\n");
	return 0;
}
