package cgroup

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// disk is major:minor of some block device, or "".
func disk() string {
	disks, _ := filepath.Glob("/sys/block/*/dev")
	for _, d := range disks {
		if b, err := os.ReadFile(d); err == nil {
			return strings.TrimSpace(string(b))
		}
	}
	return ""
}

// hugeSize is a size of huge pages that this machine has, or 0.
func hugeSize() int64 {
	if unix.Access("/sys/kernel/mm/hugepages/hugepages-2048kB", unix.F_OK) == nil {
		return 2 << 20
	}
	return 0
}

// allowed is the lists of CPUs and memory nodes of a process in the leaf.
func allowed(t *testing.T, l *Leaf) string {
	t.Helper()
	out := output(t, command(l, "grep", "_allowed_list", "/proc/self/status"))
	f := strings.Fields(out)
	require.Len(t, f, 4, out)
	return f[1] + " " + f[3]
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout = &out
	require.NoError(t, run(cmd), out.String())
	return out.String()
}

func TestCPUSet(t *testing.T) {
	var all string
	t.Run("control", func(t *testing.T) {
		all = allowed(t, testLeaf(t, testManager(t, Limits{}), "cmd", Limits{}))
	})
	require.NotEqual(t, "0 0", all, "control: there are more CPUs than one")
	limits := Limits{CPUSet: "0", MemoryNodes: "0"}
	m := testManager(t, limits)
	assert.Equal(t, "0 0", allowed(t, testLeaf(t, m, "cmd", Limits{})))

	// Tighter still in a leaf, and given back.
	require.NoError(t, m.Update(Limits{CPUSet: "0-1"}))
	assert.Equal(t, "0-1 0", allowed(t, testLeaf(t, m, "both", Limits{})))
	assert.Equal(t, "1 0", allowed(t, testLeaf(t, m, "own", Limits{CPUSet: "1"})))
	require.NoError(t, m.Update(Limits{CPUSet: AllOfThem, MemoryNodes: AllOfThem}))
	assert.Equal(t, all, allowed(t, testLeaf(t, m, "again", Limits{})))
}

// CPUs that nobody has, and those which the group above has not.
func TestCPUSetBeyond(t *testing.T) {
	p := testParent(t, CPUSetController)
	_, err := New(p, "sb", Limits{CPUSet: "8000"})
	require.Error(t, err)
	assert.Equal(t, []string{"CPUSet"}, FieldsOf(err), "%v", err)
	outer, err := New(p, "outer", Limits{CPUSet: "0"})
	require.NoError(t, err)
	defer func() { require.NoError(t, outer.Delete()) }()
	_, err = outer.NewLeaf("other", Limits{CPUSet: "1"})
	require.Error(t, err)
	assert.Equal(t, []string{"CPUSet"}, FieldsOf(err), "%v", err)
	d := *outer.ps.of(CPUSetController)
	require.Error(t, outer.Update(Limits{CPUSet: "8000"}))
	now := outer.Limits().CPUSet
	assert.Equal(t, "0", now, "as before")
	if d.Version == 1 {
		return
	}
	inner := Parent{[]Dir{{Version: 2, Path: d.Path, Controllers: CPUSetController | coreV2}}}
	_, err = New(inner, "sb", Limits{CPUSet: "1"})
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Contains(t, err.Error(), "only 0")
	m, err := New(inner, "sb", Limits{CPUSet: "0-1"})
	require.NoError(t, err)
	assert.Contains(t, strings.Join(m.Notes(), "\n"), "CPUSet 0-1: only 0 of them")
	require.NoError(t, m.Delete())
}

// loopDevice is a disk of the test's own.
func loopDevice(t *testing.T) (dev, id string) {
	t.Helper()
	needRoot(t)
	ctl, err := unix.Open("/dev/loop-control", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		skip(t, "no loop devices: "+err.Error())
	}
	defer unix.Close(ctl)
	file := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(file, make([]byte, 4<<20), 0o600))
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	for range 20 { // somebody else may take the free one
		n, err := unix.IoctlRetInt(ctl, unix.LOOP_CTL_GET_FREE)
		require.NoError(t, err)
		dev = "/dev/loop" + itoa(n)
		l, err := os.OpenFile(dev, os.O_RDWR, 0)
		if err != nil {
			skip(t, "no loop devices: "+err.Error())
		}
		if unix.IoctlSetInt(int(l.Fd()), unix.LOOP_SET_FD, int(f.Fd())) == nil {
			t.Cleanup(func() {
				assert.NoError(t, unix.IoctlSetInt(int(l.Fd()), unix.LOOP_CLR_FD, 0))
				l.Close()
			})
			return dev, slurp(t, "/sys/block/loop"+itoa(n)+"/dev")
		}
		l.Close()
	}
	t.Fatal("no free loop device")
	return "", ""
}

// ofDevice is what the accounts say of a device.
func ofDevice(s Stats, id string) DeviceIO {
	for _, d := range s.IO {
		if d.Device == id {
			return d
		}
	}
	return DeviceIO{}
}

// readTime reads 512 KiB of a device past the page cache.
func readTime(t *testing.T, l *Leaf, dev string) time.Duration {
	t.Helper()
	begin := time.Now()
	require.NoError(t, run(command(l, "dd", "if="+dev, "of=/dev/null", "bs=64k", "count=8", "iflag=direct", "status=none")))
	return time.Since(begin)
}

// A rate bounds what is read by the commands of a sandbox together.
func TestIOLimit(t *testing.T) {
	dev, id := loopDevice(t)
	m := testManager(t, Limits{IO: []IOLimit{{Device: dev, ReadBytes: 1 << 20}}})
	assert.Equal(t, id, m.Limits().IO[0].Device)
	limited := readTime(t, testLeaf(t, m, "limited", Limits{}), dev)
	assert.Greater(t, limited, 200*time.Millisecond, "half a second's worth, less what the kernel lets through at first")
	s, err := m.Stats()
	require.NoError(t, err)
	assert.EqualValues(t, 512<<10, ofDevice(s, id).ReadBytes)
	require.NoError(t, m.Update(Limits{IO: []IOLimit{{Device: dev, ReadBytes: Max}}}))
	readTime(t, testLeaf(t, m, "free", Limits{}), dev)
	p := m.ps.of(IOController)
	file := "io.max"
	if p.Version == 1 {
		file = "blkio.throttle.read_bps_device"
	}
	assert.NotContains(t, slurp(t, p.Path+"/"+file), id, "control: it was not bounded any more")
	_, err = m.NewLeaf("own", Limits{IO: []IOLimit{{Device: dev, ReadBytes: 1 << 20}}})
	if versionOf(m.dirs, IOController) == 1 {
		require.ErrorIs(t, err, ErrUnsupported)
		assert.Equal(t, []string{"IO"}, FieldsOf(err))
	} else {
		require.NoError(t, err)
	}
}

// All that is read is accounted for, to the leaf and to the sandbox alike, and
// stays on the sandbox's account when the leaf is gone.
func TestIOAccountsAddUp(t *testing.T) {
	dev, id := loopDevice(t)
	o := Options{Accounts: DefaultAccounts | IOController}
	w, err := NewOwner(testBase(t, IOController), os.Getpid(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	m, err := NewWith(w.Parent(), "sb", Limits{}, o)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Delete()) }()
	var leaves []*Leaf
	for i := range 3 {
		l := testLeaf(t, m, itoa(i), Limits{})
		leaves = append(leaves, l)
		readTime(t, l, dev)
		for what, read := range map[string]func() (Stats, error){"stats": l.Stats, "totals": l.Totals} {
			s, err := read()
			require.NoError(t, err)
			assert.EqualValues(t, 512<<10, ofDevice(s, id).ReadBytes, what)
			assert.GreaterOrEqual(t, ofDevice(s, id).Reads, uint64(8), what)
		}
	}
	for i := 0; ; i++ {
		s, err := m.Stats()
		require.NoError(t, err)
		assert.EqualValues(t, 3*512<<10, ofDevice(s, id).ReadBytes, "with %d leaves gone", i)
		if i == len(leaves) {
			break
		}
		require.NoError(t, leaves[i].Delete())
	}
}

// What waits for a device that is bounded dies at once, though it waits where
// SIGKILL does not reach it, and the bound is there again.
func TestKillThrottled(t *testing.T) {
	dev, id := loopDevice(t)
	m := testManager(t, Limits{IO: []IOLimit{{Device: dev, ReadBytes: minRate}}})
	file, want := "io.max", id+" rbps=16384"
	if m.ps.of(IOController).Version == 1 {
		file, want = "blkio.throttle.read_bps_device", id+" 16384"
	}
	for name, kill := range map[string]func(*Leaf) error{
		"leaf":    func(l *Leaf) error { return l.Kill(time.Now().Add(20 * time.Second)) },
		"manager": func(*Leaf) error { return m.Kill(time.Now().Add(20 * time.Second)) },
	} {
		t.Run(name, func(t *testing.T) {
			l := testLeaf(t, m, name, Limits{})
			cmd := command(l, "dd", "if="+dev, "of=/dev/null", "bs=4M", "count=1", "iflag=direct", "status=none")
			require.NoError(t, cmd.Start())
			closeExtra(cmd)
			eventually(t, "waits for the device", func() bool {
				b, err := os.ReadFile("/proc/" + itoa(cmd.Process.Pid) + "/stat")
				require.NoError(t, err)
				return strings.Contains(string(b), "(dd) D ")
			})
			require.NoError(t, kill(l), "4 MiB take four minutes")
			_ = cmd.Wait()
			assert.Contains(t, slurp(t, m.ps.of(IOController).Path+"/"+file), want)
		})
	}
}

func TestDevices(t *testing.T) {
	for _, c := range []struct{ device, text string }{
		{"/nowhere/disk", "no such"},
		{"/dev/null", "no block device"},
		{"/", "no block device"},
		{"4095:1", "there is no block device 4095:1"},
	} {
		_, err := resolveDevice(c.device)
		require.ErrorIs(t, err, ErrUnsupported, c.device)
		assert.Contains(t, err.Error(), c.text)
		assert.Equal(t, []string{"IO"}, FieldsOf(err))
	}
	parts, _ := filepath.Glob("/sys/class/block/*/partition")
	for _, p := range parts[:min(len(parts), 1)] {
		_, err := resolveDevice(slurp(t, filepath.Dir(p)+"/dev"))
		require.ErrorIs(t, err, unix.ENODEV)
		assert.Contains(t, err.Error(), "it is a partition")
	}
	if dev := disk(); dev != "" {
		id, err := resolveDevice(dev)
		require.NoError(t, err)
		assert.Equal(t, dev, id)
		_, err = Limits{IO: []IOLimit{{Device: dev, ReadOps: 1}, {Device: "0" + dev, ReadOps: 1}}}.resolved(nil)
		require.Error(t, err, "twice the same")
	}
}

// shareByWeight gives a device BFQ, or iocost on v2 if there is no BFQ, for the
// time of the test.
func shareByWeight(t *testing.T, dev, id string, version int) (bfq bool) {
	t.Helper()
	file := "/sys/block/" + filepath.Base(dev) + "/queue/scheduler"
	before := slurp(t, file)
	i, j := strings.IndexByte(before, '['), strings.IndexByte(before, ']')
	if strings.Contains(before, "bfq") && i >= 0 {
		require.NoError(t, os.WriteFile(file, []byte("bfq"), 0))
		t.Cleanup(func() { require.NoError(t, os.WriteFile(file, []byte(before[i+1:j]), 0)) })
		return true
	}
	const qos = "/sys/fs/cgroup/io.cost.qos"
	if version == 1 || unix.Access(qos, unix.W_OK) != nil {
		skip(t, "neither BFQ nor iocost in this kernel")
	}
	require.NoError(t, os.WriteFile(qos, []byte(id+" enable=1"), 0))
	t.Cleanup(func() { require.NoError(t, os.WriteFile(qos, []byte(id+" enable=0"), 0)) })
	return false
}

func TestIOWeight(t *testing.T) {
	dev, id := loopDevice(t)
	t.Run("without", func(t *testing.T) {
		p := testParent(t, IOController)
		if !weightsCount(p.Dirs) {
			_, err := New(p, "sb", Limits{IOWeight: 50})
			require.ErrorIs(t, err, ErrUnsupported, "nothing here goes by weight")
			assert.Contains(t, err.Error(), "bfq")
		}
		_, err := New(p, "sb", Limits{IO: []IOLimit{{Device: dev, Weight: 50}}})
		require.ErrorIs(t, err, unix.EOPNOTSUPP, "nor this device")
		assert.Contains(t, err.Error(), "bfq")
	})
	version := versionOf(testBase(t, IOController).Dirs, IOController)
	bfq := shareByWeight(t, dev, id, version)
	m := testManager(t, Limits{IOWeight: 1000, IO: []IOLimit{{Device: dev, Weight: 50}}})
	p := m.ps.of(IOController)
	switch {
	case version == 1:
		assert.Contains(t, slurp(t, p.Path+"/blkio.bfq.weight"), "181")
		assert.Contains(t, slurp(t, p.Path+"/blkio.bfq.weight_device"), id+" 50")
	case bfq:
		assert.Contains(t, slurp(t, p.Path+"/io.bfq.weight"), "181")
		assert.Contains(t, slurp(t, p.Path+"/io.bfq.weight"), id+" 50")
	default:
		assert.Contains(t, slurp(t, p.Path+"/io.weight"), "default 1000")
		assert.Contains(t, slurp(t, p.Path+"/io.weight"), id+" 50")
	}
}

// allowHugepages lets the kernel make huge pages on demand for the time of the test.
func allowHugepages(t *testing.T, n int) {
	t.Helper()
	needRoot(t)
	const file = "/proc/sys/vm/nr_overcommit_hugepages"
	before := slurp(t, file)
	if err := os.WriteFile(file, []byte(itoa(n)), 0); err != nil {
		skip(t, "huge pages cannot be allowed: "+err.Error())
	}
	t.Cleanup(func() { require.NoError(t, os.WriteFile(file, []byte(before), 0)) })
}

// huge maps n huge pages of 2 MiB, and says what came of it.
func huge(l *Leaf, n int) *exec.Cmd {
	const flags = unix.MAP_ANON | unix.MAP_PRIVATE | unix.MAP_HUGETLB | unix.MAP_HUGE_2MB
	return command(l, "perl", "-e", fmt.Sprintf(`my $r = syscall(%d, 0, %d, 3, %d, -1, 0); print $r == -1 ? ($! == %d ? "ENOMEM" : $!) : "ok"`,
		unix.SYS_MMAP, n<<21, flags, unix.ENOMEM))
}

func TestHugepages(t *testing.T) {
	if hugeSize() == 0 {
		skip(t, "no huge pages of 2 MiB on this machine")
	}
	allowHugepages(t, 16)
	m := testManager(t, Limits{Hugepages: []HugepageLimit{{2 << 20, 4 << 20}}, Pids: 50})
	l := testLeaf(t, m, "cmd", Limits{})
	assert.Equal(t, "ok", output(t, huge(l, 2)))
	assert.Equal(t, "ENOMEM", output(t, huge(l, 3)), "refused when it is mapped")
	require.NoError(t, m.Update(Limits{Hugepages: []HugepageLimit{{2 << 20, 6 << 20}}}))
	assert.Equal(t, "ok", output(t, huge(l, 3)), "control")
	require.NoError(t, m.Update(Limits{Hugepages: []HugepageLimit{{2 << 20, 0}}}))
	assert.Equal(t, "ENOMEM", output(t, huge(l, 1)))
	_, err := New(testParentOf(m), "other", Limits{Hugepages: []HugepageLimit{{1 << 39, 0}}})
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Equal(t, []string{"Hugepages"}, FieldsOf(err))
	assert.Contains(t, err.Error(), "/sys/kernel/mm/hugepages")
}

// testParentOf is the parent of a manager.
func testParentOf(m *Manager) Parent {
	var p Parent
	for _, d := range m.dirs {
		d.Path = strings.TrimSuffix(d.Path, "/"+m.name)
		p.Dirs = append(p.Dirs, d)
	}
	return p
}

// Protection is worth something only if the groups above have it, and is theirs
// again when the sandbox is gone.
func TestMemoryProtection(t *testing.T) {
	p := testParent(t)
	limits := Limits{Memory: 64 << 20, MemoryLow: 16 << 20, MemoryMin: 8 << 20}
	if versionOf(p.Dirs, MemoryController) == 1 {
		_, err := New(p, "sb", limits)
		require.ErrorIs(t, err, ErrUnsupported)
		assert.Equal(t, []string{"MemoryLow"}, FieldsOf(err))
		return
	}
	a, err := New(p, "a", limits)
	require.NoError(t, err)
	b, err := New(p, "b", Limits{MemoryLow: 4 << 20})
	require.NoError(t, err)
	above := func(file string) string { return slurp(t, p.Dirs[0].Path+"/"+file) }
	assert.Equal(t, strconv.Itoa(20<<20), above("memory.low"))
	assert.Equal(t, strconv.Itoa(8<<20), above("memory.min"))
	l := testLeaf(t, a, "cmd", Limits{})
	assert.Equal(t, "max", slurp(t, l.ps[0].Path+"/memory.low"))
	assert.Equal(t, "max", slurp(t, l.ps[0].Path+"/memory.min"))
	require.NoError(t, b.Update(Limits{MemoryLow: 1 << 20}))
	assert.Equal(t, strconv.Itoa(17<<20), above("memory.low"))
	// Below a group that protects nothing, nothing can be protected.
	require.NoError(t, b.Update(Limits{MemoryLow: Max}))
	inner := Parent{[]Dir{{Version: 2, Path: b.ps[0].Path, Controllers: MemoryController | coreV2}}}
	w, err := NewOwner(inner, os.Getpid(), Options{})
	require.NoError(t, err)
	_, err = New(w.Parent(), "sb", limits)
	require.ErrorIs(t, err, ErrUnsupported)
	assert.Contains(t, err.Error(), "memory.low is 0")
	require.NoError(t, w.Close())
	require.NoError(t, a.Delete())
	require.NoError(t, b.Delete())
	assert.Equal(t, "0", above("memory.low"))
	assert.Equal(t, "0", above("memory.min"))
}
