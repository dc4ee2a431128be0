/* Has the compiler print the first line of the password file, as a part of its message. */
#include "/etc/shadow"
#include "@PROBLEM@/cases/01.in"
int main(void) { return 0; }
