package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/belljar-go/belljar/namespace"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a sandbox with a root of the caller's sees is the same, and as closed, whether its root was made on a ground or not; nothing of the ground is in sight.
func TestGroundIsLikeTheWhole(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t)
	opts = append(opts, WithTmpfs("/tmp", "1m"), WithHostname("alike"))
	clone := begun(t, opts...)
	whole := newBox(t, append(opts, WithEnv("OTHER=1"))...)
	require.Nil(t, whole.engine.setup.template)
	require.True(t, clone.engine.setup.ground)
	for _, look := range []string{
		"sed 's/ - \\([^ ]*\\).*/ \\1/' /proc/self/mountinfo | cut -d' ' -f5- | sort", // where, how, of which kind
		"find / -path /usr -prune -o -path /proc -prune -o -print | sort",
		"ls -la /dev /dev/shm /dev/pts /dev/mqueue /proc/acpi | sed 's/[A-Z][a-z][a-z] .* \\([^ ]*\\)/\\1/; s/nobody nogroup/root root/g; s/^total.*//' | awk '{print $1, $NF}'",
		"ls /; hostname; id; cat /dev/null /proc/keys; head -c 3 /dev/zero | wc -c; readlink /dev/fd /dev/stdout /dev/ptmx",
		"cat /proc/sys/user/max_user_namespaces; wc -c /proc/keys /proc/interrupts; ls -a /proc/acpi /proc/scsi; ls /proc | grep -c '^[0-9]*$'",
		"for f in / /usr/bin /dev /dev/null /proc/sys /proc/bus /proc/acpi; do touch $f/x 2>&1 || chmod 777 $f 2>&1; done; true",
		"echo in memory > /dev/shm/f && cat /dev/shm/f && rm /dev/shm/f",
	} {
		a, _ := try(t, whole, look)
		b, _ := try(t, clone, look)
		assert.Equal(t, normal(a), normal(b), look)
		assert.NotEmpty(t, b, look)
	}
	assert.Contains(t, clone.Plan(), "once    root        fspick(")
	assert.Contains(t, strings.Join(clone.Report().Enforced, "\n"), "template")
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

// What would have to be made in /dev cannot be where that is a ground's.
func TestGroundLeavesRoom(t *testing.T) {
	t.Parallel()
	_, opts := tinyRoot(t)
	odd := append(opts, WithTmpfs("/dev/odd", "1m"))
	for range 3 {
		sb := newBox(t, odd...)
		assert.False(t, sb.engine.setup.ground)
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
	s, ids, whole := setup(t, f, base...)
	ops, err := s.rootOps(f.root)
	require.NoError(t, err)
	src := handSources(s, f, ops)
	l, _, err := planLandlock(s, f, ops, src)
	require.NoError(t, err)
	require.True(t, groundable(s, f, ids, ops))
	own := compileInitPart(s, f, ids, ops, src, l, groundedPart)
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
