package rootfs_test

import (
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs"
)

// dir, link and file are entries of a host.
var (
	dir  = rootfs.Entry{Type: fs.ModeDir}
	file = rootfs.Entry{}
)

func link(to string) rootfs.Entry { return rootfs.Entry{Type: fs.ModeSymlink, Link: to} }

// merged is a host of today: everything is in /usr.
var merged = map[string]rootfs.Entry{
	"/usr": dir, "/bin": link("usr/bin"), "/sbin": link("/usr/sbin"), "/lib": link("usr/lib"), "/lib64": link("usr/lib64"),
	"/etc/ld.so.cache": file, "/etc/alternatives": dir, "/etc/ssl/certs": dir, "/etc/localtime": link("/usr/share/zoneinfo/UTC"),
	"/etc/java-17-openjdk": dir, "/etc/shadow": file, "/etc/ssl/private": dir, "/home": dir,
}

// split is a host of old, with some oddities.
var split = map[string]rootfs.Entry{
	"/usr": dir, "/bin": dir, "/sbin": dir, "/lib": dir, "/lib32": link("/opt/lib32"), "/libx32": link("usr/../../etc"), "/lib64": link("lib"),
	"/etc/localtime": link("../opt/zone"), "/etc/timezone": {Type: fs.ModeNamedPipe},
}

func lines(ops []rootfs.Op) []string {
	var s []string
	for _, op := range ops {
		s = append(s, op.String())
	}
	return s
}

func TestDefault(t *testing.T) {
	ops := rootfs.Default(rootfs.NewFacts(merged), rootfs.DefaultEtc())
	require.NoError(t, rootfs.Validate(ops))
	want := `tmpfs on /
bind /usr on /usr ro
symlink /bin to usr/bin
symlink /sbin to /usr/sbin
symlink /lib to usr/lib
symlink /lib64 to usr/lib64
dir /etc mode=0755
file /etc/group 39 bytes mode=0644
file /etc/hostname 8 bytes mode=0644
file /etc/hosts 79 bytes mode=0644
file /etc/nsswitch.conf 44 bytes mode=0644
file /etc/passwd 100 bytes mode=0644
file /etc/resolv.conf 0 bytes mode=0644
bind /etc/alternatives on /etc/alternatives ro,optional
bind /etc/java-17-openjdk on /etc/java-17-openjdk ro,optional
bind /etc/ld.so.cache on /etc/ld.so.cache ro,optional
symlink /etc/localtime to /usr/share/zoneinfo/UTC
bind /etc/ssl/certs on /etc/ssl/certs ro,optional
proc on /proc
mask /proc/acpi
mask /proc/asound
mask /proc/interrupts
mask /proc/kcore
mask /proc/keys
mask /proc/latency_stats
mask /proc/sched_debug
mask /proc/scsi
mask /proc/timer_list
mask /proc/timer_stats
read-only /proc/bus
read-only /proc/fs
read-only /proc/irq
read-only /proc/sys
read-only /proc/sysrq-trigger
dev on /dev shm=67108864
tmpfs on /tmp size=268435456 inodes=65536 mode=1777
tmpfs on /box size=268435456 inodes=65536 mode=0755 job
read-only /`
	got := lines(ops)
	assert.Equal(t, strings.Split(want, "\n")[1:], got[1:])
	assert.True(t, strings.HasPrefix(got[0], "tmpfs on / size="))
}

func TestDefaultOnSplitHost(t *testing.T) {
	ops := rootfs.Default(rootfs.NewFacts(split), rootfs.DefaultEtc())
	require.NoError(t, rootfs.Validate(ops))
	got := lines(ops)
	for _, want := range []string{
		"bind /bin on /bin ro", "bind /lib on /lib ro",
		"bind /lib32 on /lib32 ro",   // leads elsewhere than /usr: what it leads to is shown
		"bind /libx32 on /libx32 ro", // only looks as if it led into /usr
		"bind /lib64 on /lib64 ro",   // relative, elsewhere
		"bind /etc/localtime on /etc/localtime ro,optional",
	} {
		assert.Contains(t, got, want)
	}
	assert.NotContains(t, strings.Join(got, "\n"), "timezone", "a pipe is nothing a root needs")
}

func TestDefaultOnEmptyHost(t *testing.T) {
	ops := rootfs.Default(rootfs.Facts{}, rootfs.Etc{})
	require.NoError(t, rootfs.Validate(ops))
	for _, op := range ops {
		_, bound := op.(rootfs.Bind)
		assert.False(t, bound, op)
	}
}

// The default root shows nothing of the host but what is named.
func TestDefaultTakesOnlyKnownPaths(t *testing.T) {
	everything := map[string]rootfs.Entry{}
	for _, p := range []string{
		"/", "/home", "/root", "/var", "/run", "/sys", "/proc", "/dev", "/boot", "/etc", "/etc/passwd", "/etc/shadow", "/etc/ssl",
		"/etc/ssl/private", "/etc/pki", "/etc/pki/tls", "/etc/pki/tls/private", "/etc/resolv.conf", "/etc/java-17/../shadow", "/etc/java-17/x",
	} {
		everything[p] = dir
	}
	assert.Equal(t,
		lines(rootfs.Default(rootfs.Facts{}, rootfs.DefaultEtc())),
		lines(rootfs.Default(rootfs.NewFacts(everything), rootfs.DefaultEtc())))
}

func TestDefaultMore(t *testing.T) {
	f := rootfs.NewFacts(merged)
	more := []rootfs.Op{
		rootfs.Tmpfs{Target: "/tmp", Size: 1 << 20},
		rootfs.Bind{Source: "/srv/etc", Target: "/etc"},
		rootfs.Bind{Source: "/srv/bin", Target: "/bin"},
		rootfs.Bind{Source: "/data", Target: "/data"},
		rootfs.Dir{Target: "/box", JobOwned: true},
		rootfs.File{Target: "/usr/x"},
		rootfs.Tmpfs{Target: "/dev/shm"},
		rootfs.Mask{Target: "/usr/share"},
	}
	ops := rootfs.Default(f, rootfs.DefaultEtc(), more...)
	require.NoError(t, rootfs.Validate(ops))
	var kept []rootfs.Op
	for _, op := range rootfs.Default(f, rootfs.DefaultEtc()) {
		if p := op.Path(); p != "/tmp" && p != "/box" && p != "/bin" && p != "/" && !rootfs.Within(p, "/etc") {
			kept = append(kept, op)
		}
	}
	want := append(append(kept, more...), rootfs.ReadOnly{Target: "/"})
	assert.Equal(t, lines(want), lines(ops)[1:])
}

func TestDefaultDoesNotTouchMore(t *testing.T) {
	more := make([]rootfs.Op, 1, 9)
	more[0] = rootfs.Dir{Target: "/a"}
	rootfs.Default(rootfs.Facts{}, rootfs.DefaultEtc(), more...)
	assert.Nil(t, more[:2][1])
}

// The root holds what is put into it before it is read-only.
func TestDefaultRootIsLargeEnough(t *testing.T) {
	data := make([]byte, 10<<20)
	ops := rootfs.Default(rootfs.Facts{}, rootfs.DefaultEtc(), rootfs.File{Target: "/a", Data: data}, rootfs.File{Target: "/b", Data: data})
	assert.Greater(t, ops[0].(rootfs.Tmpfs).Bytes(), int64(20<<20))
}

func TestOn(t *testing.T) {
	ops := rootfs.On("/srv/root", rootfs.Dir{Target: "/a"})
	require.NoError(t, rootfs.Validate(ops))
	got := lines(ops)
	assert.Equal(t, "base /srv/root ro", got[0])
	assert.Equal(t, "proc on /proc", got[1])
	assert.Equal(t, []string{"dev on /dev shm=67108864", "dir /a mode=0755"}, got[len(got)-2:])
}

// On every host with a /usr the default root can be made.
func TestHostFacts(t *testing.T) {
	if _, err := os.Stat("/usr/bin"); err != nil {
		skip(t, "this host has no /usr/bin")
	}
	ops := rootfs.Default(rootfs.HostFacts(), rootfs.DefaultEtc())
	require.NoError(t, rootfs.Validate(ops))
	assert.Contains(t, lines(ops), "bind /usr on /usr ro")
	for _, op := range ops {
		if b, ok := op.(rootfs.Bind); ok {
			_, err := os.Stat(b.Source)
			assert.True(t, err == nil || b.Flags&rootfs.BindOptional != 0, "%s: %v", b, err)
		}
	}
}

func TestProcPaths(t *testing.T) {
	masked, ro := rootfs.MaskedPaths(), rootfs.ReadOnlyPaths()
	for _, p := range append(slices.Clone(masked), ro...) {
		assert.True(t, rootfs.Within(p, "/proc"), p)
	}
	for _, p := range masked {
		assert.NotContains(t, ro, p)
	}
	masked[0] = "changed"
	assert.NotContains(t, rootfs.MaskedPaths(), "changed", "the list is a copy")
	assert.Len(t, rootfs.ProcOps(), len(masked)+len(ro))
}

func TestEtc(t *testing.T) {
	content := func(e rootfs.Etc) map[string]string {
		m := map[string]string{}
		for _, op := range e.Ops() {
			m[op.Path()] = string(op.(rootfs.File).Data)
		}
		return m
	}
	got := content(rootfs.DefaultEtc())
	assert.Equal(t, map[string]string{
		"/etc/passwd":        "root:x:0:0:root:/:/bin/sh\njob:x:1000:1000:job:/box:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
		"/etc/group":         "root:x:0:\njob:x:1000:\nnogroup:x:65534:\n",
		"/etc/hostname":      "belljar\n",
		"/etc/hosts":         "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n127.0.1.1\tbelljar\n",
		"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
		"/etc/resolv.conf":   "",
	}, got)

	got = content(rootfs.Etc{Hostname: "glass", UID: 0, GID: 65534, Hosts: map[string]string{"b": "10.0.0.2", "a": "::5", "glass": "10.0.0.1"}, ResolvConf: []string{"nameserver 1.1.1.1", "options ndots:1"}})
	assert.NotContains(t, got["/etc/passwd"], "job", "root is root, by whatever name")
	assert.NotContains(t, got["/etc/group"], "job")
	assert.True(t, strings.HasSuffix(got["/etc/hosts"], "ip6-loopback\n::5\ta\n10.0.0.2\tb\n10.0.0.1\tglass\n"), got["/etc/hosts"])
	assert.Equal(t, "nameserver 1.1.1.1\noptions ndots:1\n", got["/etc/resolv.conf"])
}

func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("BELLJAR_MUST_WORK") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}

func ExampleValidate() {
	err := rootfs.Validate([]rootfs.Op{
		rootfs.Base{Dir: "/srv/alpine"},
		rootfs.File{Target: "/etc/motd", Data: []byte("hello\n")},
		rootfs.Tmpfs{Target: "/etc", Size: 1 << 20},
	})
	fmt.Println(err)
	// Output: tmpfs /etc: hides file /etc/motd 6 bytes mode=0644
}

func ExampleOn() {
	for _, op := range rootfs.On("/srv/alpine", rootfs.Bind{Source: "/srv/data", Target: "/data"})[:3] {
		fmt.Println(op)
	}
	// Output:
	// base /srv/alpine ro
	// proc on /proc
	// mask /proc/acpi
}
