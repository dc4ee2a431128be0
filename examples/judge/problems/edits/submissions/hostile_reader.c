/*
 * Looks for what it should not see: passwords, the answers on the judge's disk (it knows where they are), the judge's
 * own files through /proc, and anything that was left open. It prints what it finds.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROBLEM "@PROBLEM@"

static void try(const char *path) {
	char text[4096];
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text);
	if (n > 0) {
		printf("LEAK %s\n", path);
		fwrite(text, 1, n, stdout);
	}
	if (fd >= 0)
		close(fd);
}

static void list(const char *path) {
	DIR *d = opendir(path);
	if (d && readdir(d))
		printf("LEAK %s\n", path);
	if (d)
		closedir(d);
}

int main(void) {
	static const char *files[] = {
		"/etc/shadow", "/etc/gshadow", "/etc/sudoers", PROBLEM "/cases/01.out", PROBLEM "/problem.json",
		"/proc/1/environ", "/proc/1/mem", "/proc/kcore", "/dev/mem",
	};
	static const char *roots[] = {"", "/proc/1/root", "/proc/1/cwd", "/proc/self/root/../..", "/../../.."};
	char path[4096];
	for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
		for (unsigned k = 0; k < sizeof roots / sizeof *roots; k++) {
			snprintf(path, sizeof path, "%s%s", roots[k], files[i]);
			try(path);
		}
	for (int fd = 3; fd < 1024; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			continue;
		printf("LEAK descriptor %d\n", fd);
		snprintf(path, sizeof path, "/proc/self/fd/%d/../../..%s/cases/01.out", fd, PROBLEM);
		try(path);
	}
	list(PROBLEM);
	list("/root");
	list("/home");
	list("/proc/1/fd");
	list("/sys/fs/cgroup");
	printf("done\n");
	return 0;
}
