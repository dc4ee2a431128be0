package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What a sandbox with a root of the caller's sees is the same, and as closed, whether its root was made on a ground or not; nothing of the ground is in sight.
func TestGroundIsLikeTheWhole(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t)
	opts = append(opts, WithTmpfs("/tmp", "1m"), WithHostname("alike"))
	clone := begun(t, opts...)
	whole := newBox(t, append(opts, WithEnv("OTHER=1"))...)
	require.Nil(t, whole.engine.setup.template)
	require.NotZero(t, clone.engine.setup.ground)
	looksAlike(t, whole, clone,
		"sed 's/ - \\([^ ]*\\).*/ \\1/' /proc/self/mountinfo | cut -d' ' -f5- | sort", // where, how, of which kind
		"find / -path /usr -prune -o -path /proc -prune -o -print | sort",
		"ls -la /dev /dev/shm /dev/pts /dev/mqueue /proc/acpi | sed 's/[A-Z][a-z][a-z] .* \\([^ ]*\\)/\\1/; s/nobody nogroup/root root/g; s/^total.*//' | awk '{print $1, $NF}'",
		"ls /; hostname; id; cat /dev/null /proc/keys; head -c 3 /dev/zero | wc -c; readlink /dev/fd /dev/stdout /dev/ptmx",
		"cat /proc/sys/user/max_user_namespaces; wc -c /proc/keys /proc/interrupts; ls -a /proc/acpi /proc/scsi; ls /proc >/tmp/list; grep -c '^[0-9]*$' /tmp/list",
		"for f in / /usr/bin /dev /dev/null /proc/sys /proc/bus /proc/acpi; do touch $f/x 2>&1 || chmod 777 $f 2>&1; done; true",
		"echo in memory > /dev/shm/f && cat /dev/shm/f && rm /dev/shm/f",
	)
}

// Nobody can write to what sandboxes share of a ground, not even the user whom everything belongs to inside.
func TestGroundIsReadOnly(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t)
	clone := begun(t, append(opts, WithCredential(0, 0))...)
	out := sh(t, clone, `echo ok > /dev/shm/f; cat /dev/shm/f
for p in /x /dev/x /dev/null/x /proc/acpi/x /proc/scsi/x; do ( echo secret > $p ) 2>/dev/null && echo "written $p"; done
chmod 777 / /dev /dev/null /proc/acpi 2>/dev/null && echo changed
mount -o remount,rw /dev 2>/dev/null && echo remounted
grep -E ' / /dev ' /proc/self/mountinfo | grep -v ' - tmpfs [^ ]* ro,' && echo writable
true`)
	assert.Equal(t, "ok", out)
}

// Who would get beneath the root, which takes a capability over mounts that no job has, would find the ground: nothing of the host and no process.
func TestGroundHasNothingOfTheHost(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t)
	t.Run("a root of the caller's", func(t *testing.T) { beneathIsTheGround(t, begun(t, opts...)) })
	t.Run("the default root", func(t *testing.T) { beneathIsTheGround(t, templated(t)) })
}

func beneathIsTheGround(t *testing.T, sb *Sandbox) {
	require.NotZero(t, sb.engine.setup.ground)
	ns, err := unix.Open(fmt.Sprintf("/proc/%d/ns/mnt", sb.PID()), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(ns)
	type sight struct {
		root, proc, dev []string
		err             error
	}
	look := func() (s sight) {
		names := func(dir string) []string {
			list, err := os.ReadDir(dir)
			s.err = errors.Join(s.err, err)
			var names []string
			for _, f := range list {
				names = append(names, f.Name())
			}
			return names
		}
		s.root, s.proc, s.dev = names("/"), names("/proc"), names("/dev")
		return s
	}
	seen := make(chan [2]sight)
	go offMain(func() {
		err := unix.Unshare(unix.CLONE_FS)
		if err == nil {
			err = unix.Setns(ns, unix.CLONE_NEWNS)
		}
		above := look()
		if err == nil {
			err = unix.Unmount("/", unix.MNT_DETACH)
		}
		if err == nil {
			err = unix.Setns(ns, unix.CLONE_NEWNS)
		}
		beneath := look()
		beneath.err = errors.Join(beneath.err, err)
		seen <- [2]sight{above, beneath}
	})
	s := <-seen
	require.NoError(t, s[0].err)
	require.NoError(t, s[1].err)
	assert.Contains(t, s[0].root, "box", "the control")
	assert.Contains(t, s[0].proc, "1")
	assert.Equal(t, []string{"dev", "nothing", "proc"}, s[1].root)
	assert.NotContains(t, s[1].proc, "1")
	assert.Contains(t, s[1].proc, "meminfo")
	assert.ElementsMatch(t, append([]string{"fd", "mqueue", "ptmx", "pts", "shm", "stderr", "stdin", "stdout"}, deviceNames...), s[1].dev)
}

// What would have to be made in /dev cannot be where that is a ground's.
func TestGroundLeavesRoom(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t)
	odd := append(opts, WithTmpfs("/dev/odd", "1m"))
	for range 3 {
		sb := newBox(t, odd...)
		assert.Zero(t, sb.engine.setup.ground)
		assert.Equal(t, "ok", sh(t, sb, "echo ok > /dev/odd/f; cat /dev/odd/f"))
	}
}

// Each step of a ground, and each that makes a root on it, is made to fail.
func TestFaultGround(t *testing.T) {
	_, opts := tinyRoot(t)
	faultTemplate(t, begun(t, append(opts, WithHostname("ground-faults"))...))
}

// TestGoldenGround is a ground, and a root that is made on it.
func TestGoldenGround(t *testing.T) {
	f := aheadFacts()
	base := []Option{WithRootfs("/srv/root"), WithBind("/srv/data", "/data", ReadOnly)}
	s, ids, _ := setup(t, f, base...)
	ops, err := s.rootOps(f.root)
	require.NoError(t, err)
	src := handSources(s, f, ops)
	src.layered = false // it lacks nothing
	l, _, err := planLandlock(s, f, ops, src)
	require.NoError(t, err)
	require.True(t, groundable(s, f, ids, ops))
	own := compileInitPart(s, f, ids, ops, src, l, groundedPart)
	whole := compileInit(s, f, ids, ops, src, l)
	golden(t, "ground", compileGround(s, f).StringAs("zygote", "once")+own.String())
	assert.Less(t, own.Steps(), whole.Steps()*3/4)

	for name, more := range map[string]Option{
		"capabilities": WithCapabilities("CHOWN"), "chroot": WithChroot(), "time": WithTime(time.Hour), "pid": WithHost(namespace.PID), "in /dev": WithTmpfs("/dev/odd", "1m"),
	} {
		s, ids, _ := setup(t, f, append(base, more)...)
		ops, err := s.rootOps(f.root)
		require.NoError(t, err)
		assert.False(t, groundable(s, f, ids, ops), name)
	}
	s, ids, _ = setup(t, f)
	ops, err = s.rootOps(f.root)
	require.NoError(t, err)
	assert.False(t, groundable(s, f, ids, ops), "the default root has templates")
	s, ids, _ = setup(t, userFacts(), base...)
	ops, err = s.rootOps(f.root)
	require.NoError(t, err)
	assert.False(t, groundable(s, userFacts(), ids, ops), "an ordinary user")
}

// offMain runs f on a thread that ends with it. The process's first thread would not, and be what /proc/self tells of.
func offMain(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() != unix.Getpid() {
		f()
		return
	}
	done := make(chan struct{})
	go func() { defer close(done); offMain(f) }() // on another one, as this is taken
	<-done
	runtime.UnlockOSThread()
}
