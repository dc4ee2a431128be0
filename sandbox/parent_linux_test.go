package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// namedGroup makes a group of one path in every hierarchy with a limit's controller, for WithCgroupParent. dirs are its directories.
func namedGroup(t *testing.T, suffix string) (name string, dirs []string) {
	t.Helper()
	h, err := cgroup.Detect()
	require.NoError(t, err)
	base, err := h.Base(cgroup.MemoryController | cgroup.PidsController)
	if err != nil && os.Geteuid() != 0 {
		skip(t, "needs cgroup delegation")
	}
	require.NoError(t, err)
	top := ""
	if len(base.Dirs) == 1 { // where this process may make groups
		top = strings.TrimPrefix(base.Dirs[0].Path, strings.TrimSuffix(h.Hierarchies[0].Mount, "/"))
	}
	name = top + "/test-parent-" + strconv.Itoa(os.Getpid()) + suffix
	for _, y := range h.Hierarchies {
		if y.Version == 2 && len(base.Dirs) > 1 || y.Unusable != "" {
			continue
		}
		dir := filepath.Join(y.Mount, name)
		if y.Version == 2 {
			require.NoError(t, os.WriteFile(filepath.Dir(dir)+"/cgroup.subtree_control", []byte("+memory +pids"), 0))
		}
		require.NoError(t, os.Mkdir(dir, 0o755))
		t.Cleanup(func() {
			var err error
			eventually(t, "sandboxes left groups in their parent", func() bool { // who has just ended is in it for a moment
				err = unix.Rmdir(dir)
				return err != unix.EBUSY
			})
			require.NoError(t, err)
		})
		if y.Version == 1 && y.Controllers.Has(cgroup.CPUSetController) { // without them no process can be in it
			for _, f := range []string{"/cpuset.cpus", "/cpuset.mems"} {
				b, err := os.ReadFile(filepath.Dir(dir) + f)
				require.NoError(t, err)
				require.NoError(t, os.WriteFile(dir+f, b, 0))
			}
		}
		dirs = append(dirs, dir)
	}
	return name, dirs
}

// Sandboxes of one program may have parents of their own, several at once, and leave nothing there.
func TestWithCgroupParent(t *testing.T) {
	a, aDirs := namedGroup(t, "-a")
	b, bDirs := namedGroup(t, "-b")
	made := func(dirs []string) (n int) {
		for _, d := range dirs {
			found, _ := filepath.Glob(d + "/belljar-*/sandbox-*")
			n += len(found)
		}
		return n
	}
	opts := func(more ...Option) []Option { return append(more, WithMemory("64m"), WithPids(20)) }
	first, second := standing(t, opts(WithCgroupParent(a))...), standing(t, opts(WithCgroupParent(a+"/"))...)
	other, free := standing(t, opts(WithCgroupParent(bDirs[len(bDirs)-1]))...), standing(t, opts()...)
	assert.Equal(t, 2*made(bDirs), made(aDirs))
	assert.Positive(t, made(bDirs))
	for _, sb := range []*Sandbox{first, second, other, free} {
		assert.Equal(t, "hello", sh(t, sb, "echo hello"))
		s, err := sb.Stats()
		require.NoError(t, err)
		assert.Positive(t, s.Memory.Peak)
	}
	assert.Contains(t, first.Report().Enforced, "cgroup parent: "+a)
	clone, err := New(opts(WithCgroupParent(b))...)
	require.NoError(t, err)
	require.NoError(t, clone.Close())
	assert.Positive(t, made(bDirs), "one of two in a parent is gone")
	require.NoError(t, first.Close())
	require.NoError(t, second.Close())
	for _, d := range aDirs {
		left, _ := filepath.Glob(d + "/belljar-*")
		assert.Empty(t, left, "the last in a parent leaves nothing")
	}
	again := standing(t, opts(WithCgroupParent(a))...)
	assert.Equal(t, "again", sh(t, again, "echo again"))
}

// The limit of a parent holds for its sandboxes.
func TestCgroupParentLimits(t *testing.T) {
	name, dirs := namedGroup(t, "-limited")
	for _, d := range dirs {
		if _, err := os.Stat(d + "/pids.max"); err == nil {
			require.NoError(t, os.WriteFile(d+"/pids.max", []byte("8"), 0))
		}
	}
	script := "i=0; while [ $i -lt 12 ]; do sleep 100 & i=$((i+1)); done; echo $i"
	sb := standing(t, WithPids(64), WithCgroupParent(name))
	assert.Contains(t, sb.Report().String(), "Pids 64: the groups above allow 8")
	out, _ := try(t, sb, script)
	assert.NotContains(t, out, "12", "control: eight processes are all there can be")
	assert.Equal(t, "12", sh(t, standing(t, WithPids(64)), script))
}

func TestCgroupParentRefused(t *testing.T) {
	name, dirs := namedGroup(t, "-refused")
	before := len(dirs)
	for _, c := range []struct {
		given string
		errno unix.Errno
		says  string
	}{
		{name + "/missing", unix.ENOENT, "mkdir "},
		{"/etc", unix.ENOENT, "is not below a mount of cgroups"},
		{dirs[before-1] + "/cgroup.procs", unix.ENOTDIR, "is a file"},
	} {
		for _, opts := range [][]Option{{WithMemory("64m")}, {BestEffort(WithMemory("64m"))}, nil} {
			_, err := New(append(opts, WithCgroupParent(c.given))...)
			require.ErrorIs(t, err, c.errno, c.given)
			require.ErrorIs(t, err, ErrUnsupported)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "cgroup", e.Stage)
			assert.Contains(t, err.Error(), c.says)
			assert.NotEmpty(t, Explain(err))
		}
	}
	_, err := New(WithCgroupParent(name+"/missing"), WithMemory("64m"))
	assert.Contains(t, Explain(err), "Mkdir /", "the remedy for this very group")
	assert.NotContains(t, Explain(err), "no such cgroup controller")
	if len(dirs) == 1 {
		// A controller switched off: on v2 the error says where, and what can be had without it is.
		inner := dirs[0] + "/inner"
		require.NoError(t, os.Mkdir(inner, 0o755))
		defer unix.Rmdir(inner)
		_, err = New(WithCgroupParent(name+"/inner"), WithPids(5))
		require.ErrorIs(t, err, unix.ENOENT)
		assert.Contains(t, Explain(err), "echo '+pids' | tee "+dirs[0]+"/cgroup.subtree_control")
		sb := standing(t, WithCgroupParent(name+"/inner"), BestEffort(WithPids(5)))
		require.Len(t, sb.Report().GivenUp, 1)
		assert.Equal(t, "WithPids", sb.Report().GivenUp[0].Option)
		require.NoError(t, sb.Close())
	}
}

// Sweep looks below the parents it is told of, too, and says what is wrong with one.
func TestSweepParents(t *testing.T) {
	name, dirs := namedGroup(t, "-sweep")
	sb := standing(t, WithCgroupParent(name), WithMemory("64m"), WithPids(20))
	dead := exec.Command("true")
	require.NoError(t, dead.Run())
	left := "belljar-" + strconv.Itoa(dead.Process.Pid) + "-1"
	for _, d := range dirs {
		require.NoError(t, os.MkdirAll(d+"/"+left+"-3/sandbox-1/cmd", 0o755))
	}
	removed, err := Sweep(name)
	require.NoError(t, err)
	assert.Contains(t, removed, left+"-3")
	for _, d := range dirs {
		assert.NoDirExists(t, d+"/"+left+"-3")
	}
	assert.Equal(t, "alive", sh(t, sb, "echo alive"), "control: what is in use stays")
	_, err = Sweep(name+"/missing", "relative")
	require.ErrorIs(t, err, unix.ENOENT)
	assert.Contains(t, err.Error(), "relative")
	assert.Contains(t, err.Error(), "mkdir ")
}
