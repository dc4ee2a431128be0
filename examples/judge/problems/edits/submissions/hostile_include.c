/* Has the compiler print the first lines of the test data and of the password file, as a part of its messages. */
#include "@PROBLEM@/cases/01.in"
#include "/etc/shadow"
int main(void) { return 0; }
