package sandbox

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// debianRoot is what .ci/debian-root makes.
func debianRoot(t *testing.T) string {
	t.Helper()
	needRoot(t)
	if testing.Short() || raceEnabled {
		t.Skip("slow: programs of a Debian root, which find no races of ours")
	}
	dir := os.Getenv("BELLJAR_DEBIAN_ROOT")
	if dir == "" {
		cache, err := os.UserCacheDir()
		require.NoError(t, err)
		dir = filepath.Join(cache, "belljar", "debian")
	}
	if _, err := os.Stat(dir); err != nil {
		skip(t, "needs a Debian root: run .ci/debian-root")
	}
	return dir
}

// A compiler, Python and Java run from a root that was made with debootstrap, under limits, and see these.
func TestDebianPrograms(t *testing.T) {
	t.Parallel()
	root := debianRoot(t)
	sb := standing(t, WithRootfs(root), WithTmpfs("/tmp", "64m"), WithDir("/tmp"), WithMemory("512m"), WithPids(64), WithCPUs(1), WithProc(ViewFiles), WithEnv("HOME=/tmp"))
	for _, c := range []struct{ name, script, want string }{
		{"gcc", `cat > a.c <<'E'
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%ld processor, %d\n", sysconf(_SC_NPROCESSORS_ONLN), getuid()); return 0; }
E
gcc -O2 -Wall -Werror -o a a.c && ./a`, "1 processor, 1000"},
		{
			"python",
			`python3 -c 'import os, threading; t = threading.Thread(target=lambda: print(len(os.sched_getaffinity(0)), os.cpu_count(), open("/proc/meminfo").readline().split()[1])); t.start(); t.join()'`,
			"1 1 524288",
		},
		{"java", `java -Xmx32m -XshowSettings:vm -version 2>&1 | grep -oE 'Max. Heap Size: .*|OpenJDK Runtime'`, "Max. Heap Size: 32.00M\nOpenJDK Runtime"},
		{
			"java's own choice", `java -XX:+PrintFlagsFinal -XshowSettings:system -version 2>&1 | grep -oE ' MaxHeapSize += [0-9]+|Provider: cgroupv[12]|Effective CPU Count: .*|CPU Quota: .*|Memory Limit: .*' | tr -s ' ' | sed 's/cgroupv./cgroup/'`,
			"MaxHeapSize = 134217728\nProvider: cgroup\nEffective CPU Count: 1\nCPU Quota: 100000us\nMemory Limit: 512.00M",
		},
		{"dpkg", `dpkg-query -W -f '${Status}\n' libc6`, "install ok installed"},
	} {
		// One after the other: they have the memory of one sandbox.
		assert.Equal(t, c.want, sh(t, sb, c.script), c.name)
	}
	// Control: without the option Java goes by the machine.
	plain := standing(t, WithRootfs(root), WithTmpfs("/tmp", "64m"), WithMemory("512m"), WithPids(64))
	assert.NotEqual(t, "134217728", sh(t, plain, `java -XX:+PrintFlagsFinal -version 2>/dev/null | awk '/ MaxHeapSize /{print $4}'`))
	out, res := try(t, sb, "echo > /etc/changed")
	assert.NotEqual(t, 0, res.ExitCode, out)
	_, res = try(t, sb, `python3 -c 'x = bytearray(1 << 30)'`)
	assert.Equal(t, MemoryExceeded, res.Verdict)
}

// installScript makes two packages, and installs one with dpkg and another with apt from a repository of files.
const installScript = `set -e
package() {
	mkdir -p /tmp/$1/DEBIAN /tmp/$1/usr/bin /tmp/$1/var/lib/$1
	printf 'Package: %s\nVersion: 1.0\nArchitecture: all\nMaintainer: nobody <nobody@example.org>\nDepends: %s\nDescription: a test\n' "$1" "$2" > /tmp/$1/DEBIAN/control
	printf '#!/bin/sh\necho %s runs\n' "$1" > /tmp/$1/usr/bin/$1
	printf '#!/bin/sh\nset -e\nchown daemon:daemon /var/lib/%s\necho configured > /var/lib/%s/state\n' "$1" "$1" > /tmp/$1/DEBIAN/postinst
	chmod 755 /tmp/$1/usr/bin/$1 /tmp/$1/DEBIAN/postinst
	dpkg-deb --root-owner-group -b /tmp/$1 /tmp/repo/$1_1.0_all.deb > /dev/null
}
mkdir -p /tmp/repo
package tool libc6
package addon tool
dpkg -i /tmp/repo/tool_1.0_all.deb > /dev/null
tool; stat -c '%U %a' /var/lib/tool; cat /var/lib/tool/state
cd /tmp/repo
f=addon_1.0_all.deb
{ dpkg-deb -f $f; echo "Filename: ./$f"; echo "Size: $(stat -c %s $f)"; echo "SHA256: $(sha256sum $f | cut -d' ' -f1)"; } > Packages
echo 'deb [trusted=yes] file:/tmp/repo ./' > /etc/apt/sources.list
rm -rf /etc/apt/sources.list.d/*
# Not as apt's own user, who may have no process in this sandbox's group of ids.
apt-get -o APT::Sandbox::User=root -qq update
apt-get -o APT::Sandbox::User=root -qq install -y addon > /dev/null 2>&1
addon
dpkg -r addon tool > /dev/null 2>&1
test ! -e /usr/bin/tool && echo removed`

// Packages are installed in a scratch layer, with scripts of theirs that change owners. The root itself stays as it is.
func TestDebianInstall(t *testing.T) {
	t.Parallel()
	root := debianRoot(t)
	sb := standing(t, WithRootfs(root), WithScratch("256m"), WithMemory("512m"), WithPids(64), WithCredential(0, 0),
		WithCapabilities("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_FSETID", "CAP_SETUID", "CAP_SETGID"), WithEnv("DEBIAN_FRONTEND=noninteractive"))
	assert.Equal(t, "tool runs\ndaemon 755\nconfigured\naddon runs\nremoved", sh(t, sb, installScript))
	assert.NoFileExists(t, filepath.Join(root, "usr/bin/tool"))
	assert.NoDirExists(t, filepath.Join(root, "tmp/repo"))
	// The next one begins with the root as it is.
	_, res := try(t, standing(t, WithRootfs(root), WithScratch("16m")), "ls /var/lib/tool")
	assert.NotEqual(t, 0, res.ExitCode)
}

// A root with nothing in it but busybox works; everything else in it is the library's.
func TestBusyboxRoot(t *testing.T) {
	t.Parallel()
	needsTool(t, "/usr/bin/busybox")
	data, err := os.ReadFile("/usr/bin/busybox")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "bin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bin/busybox"), data, 0o755))
	sb := standing(t, WithRootfs(dir), WithProc(ViewFiles), WithTmpfs("/tmp", "1m"))
	out, err := sb.Command("/bin/busybox", "sh", "-c", `busybox --list | busybox grep -cx ash; busybox id -u; busybox ls /
busybox cut -d' ' -f1 /proc/uptime; echo x > /tmp/f && busybox cat /tmp/f; echo x > /bin/f`).CombinedOutput(inTime(t))
	require.Error(t, err)
	assert.Contains(t, string(out), "1\n1000\nbin\ndev\nproc\nsys\ntmp\n0.00\nx\n")
	assert.Contains(t, string(out), "Read-only file system")
	made, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, made, 1, "made in the root itself")
}
