package cgroup

import (
	"errors"
	"math"
	"reflect"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name  string
		l     Limits
		field string // "" if valid
	}{
		{"nothing", Limits{}, ""},
		{"all", Limits{Memory: 50 << 20, MemoryHigh: 40 << 20, Swap: 1, CPUs: 0.5, CPUWeight: 100, Pids: 20, OOMGroup: true}, ""},
		{"all max", Limits{Memory: Max, MemoryHigh: Max, Swap: Max, CPUs: Max, Pids: Max}, ""},
		{"one page", Limits{Memory: 4096}, ""},
		{"less than a page", Limits{Memory: 4095}, "Memory"},
		{"negative memory", Limits{Memory: -2}, "Memory"},
		{"least int64", Limits{Memory: math.MinInt64}, "Memory"},
		{"high less than a page", Limits{MemoryHigh: 1}, "MemoryHigh"},
		{"negative swap", Limits{Swap: -2}, "Swap"},
		{"sum just fits", Limits{Memory: math.MaxInt64 - 1, Swap: 1}, ""},
		{"sum overflows", Limits{Memory: math.MaxInt64 - 1, Swap: 2}, "Swap"},
		{"least quota", Limits{CPUs: 0.01}, ""},
		{"below least quota", Limits{CPUs: 0.0099}, "CPUs"},
		{"negative CPUs", Limits{CPUs: -0.5}, "CPUs"},
		{"NaN", Limits{CPUs: math.NaN()}, "CPUs"},
		{"infinite", Limits{CPUs: math.Inf(1)}, "CPUs"},
		{"minus infinite", Limits{CPUs: math.Inf(-1)}, "CPUs"},
		{"weight", Limits{CPUWeight: 10001}, "CPUWeight"},
		{"negative weight", Limits{CPUWeight: -1}, "CPUWeight"},
		{"negative pids", Limits{Pids: -2}, "Pids"},
		{"most pids", Limits{Pids: 4194304}, ""},
		{"protected", Limits{Memory: 8192, MemoryLow: 8192, MemoryMin: Max}, ""},
		{"protected beyond the limit", Limits{Memory: 8192, MemoryLow: 8193}, "MemoryLow"},
		{"negative minimum", Limits{MemoryMin: -2}, "MemoryMin"},
		{"less than a page protected", Limits{MemoryMin: 1}, "MemoryMin"},
		{"sets", Limits{CPUSet: "0-2,7", MemoryNodes: AllOfThem}, ""},
		{"blank set", Limits{CPUSet: " "}, "CPUSet"},
		{"set backwards", Limits{CPUSet: "2-1"}, "CPUSet"},
		{"set with a stride", Limits{CPUSet: "0-7:1/2"}, "CPUSet"},
		{"negative CPU", Limits{CPUSet: "-1"}, "CPUSet"},
		{"two commas", Limits{CPUSet: "0,,1"}, "CPUSet"},
		{"CPU beyond all kernels", Limits{CPUSet: "8192"}, "CPUSet"},
		{"node beyond all kernels", Limits{MemoryNodes: "0-1024"}, "MemoryNodes"},
		{"overflowing node", Limits{MemoryNodes: "99999999999999999999"}, "MemoryNodes"},
		{"devices", Limits{IO: []IOLimit{{Device: "8:0", ReadBytes: Max, WriteOps: 1}, {Device: "/dev/sda", Weight: 1}}, IOWeight: 10000}, ""},
		{"no device", Limits{IO: []IOLimit{{ReadBytes: 1 << 20}}}, "IO"},
		{"a relative device", Limits{IO: []IOLimit{{Device: "sda", ReadBytes: 1 << 20}}}, "IO"},
		{"two lines in a device", Limits{IO: []IOLimit{{Device: "8:0\n8:1", ReadBytes: 1 << 20}}}, "IO"},
		{"a device twice", Limits{IO: []IOLimit{{Device: "8:0", ReadOps: 1}, {Device: "8:0", ReadOps: 2}}}, "IO"},
		{"a device for nothing", Limits{IO: []IOLimit{{Device: "8:0"}}}, "IO"},
		{"negative rate", Limits{IO: []IOLimit{{Device: "8:0", ReadBytes: -2}}}, "IO"},
		{"next to no rate", Limits{IO: []IOLimit{{Device: "8:0", WriteBytes: 100}}}, "IO"},
		{"too many operations", Limits{IO: []IOLimit{{Device: "8:0", ReadOps: 1 << 32}}}, "IO"},
		{"weight of a device", Limits{IO: []IOLimit{{Device: "8:0", Weight: 10001}}}, "IO"},
		{"weight of devices", Limits{IOWeight: 10001}, "IOWeight"},
		{"negative weight of devices", Limits{IOWeight: -1}, "IOWeight"},
		{"huge pages", Limits{Hugepages: []HugepageLimit{{2 << 20, 0}, {1 << 30, Max}}}, ""},
		{"no size of pages", Limits{Hugepages: []HugepageLimit{{0, 0}}}, "Hugepages"},
		{"an odd size of pages", Limits{Hugepages: []HugepageLimit{{3 << 20, 0}}}, "Hugepages"},
		{"usual pages", Limits{Hugepages: []HugepageLimit{{4096, 0}}}, "Hugepages"},
		{"a size twice", Limits{Hugepages: []HugepageLimit{{2 << 20, 0}, {2 << 20, 1}}}, "Hugepages"},
		{"negative huge pages", Limits{Hugepages: []HugepageLimit{{2 << 20, -2}}}, "Hugepages"},
		{"too many pids", Limits{Pids: 4194305}, "Pids"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.l.Validate()
			if c.field == "" {
				require.NoError(t, err)
				return
			}
			var bad *InvalidError
			require.ErrorAs(t, err, &bad)
			assert.Equal(t, c.field, bad.Field)
			assert.ErrorIs(t, err, ErrInvalid)
			assert.Contains(t, err.Error(), c.field+` "`)
		})
	}
}

func TestShares(t *testing.T) {
	for weight, want := range map[int]int{1: 10, 50: 512, 100: 1024, 200: 2048, 10000: 102400} {
		assert.Equal(t, want, shares(weight), "weight %d", weight)
	}
}

func TestLimitsControllers(t *testing.T) {
	assert.Zero(t, Limits{}.Controllers())
	assert.Equal(t, MemoryController|CPUController|PidsController, Limits{Memory: 1, CPUs: 1, Pids: 1}.Controllers())
	assert.Equal(t, "cpu,memory,pids", Limits{OOMGroup: true, CPUWeight: 1, Pids: 1}.Controllers().String())
}

func TestUpdateAlgebra(t *testing.T) {
	old := Limits{Memory: 100, Swap: 5, Pids: 7}
	assert.Equal(t, Limits{Memory: 200, Pids: 7, CPUs: 2}, old.with(Limits{Memory: 200, CPUs: 2}))
	assert.Equal(t, Limits{Memory: 100, Swap: 9, Pids: 7}, old.with(Limits{Swap: 9}))
	assert.Equal(t, Limits{Memory: 100, Swap: 5, Pids: 7, CPUs: Max, CPUWeight: 100, MemoryHigh: Max},
		old.backFrom(Limits{Memory: 1, MemoryHigh: 1, CPUs: 1, CPUWeight: 1, Pids: 1}))
}

func TestValidName(t *testing.T) {
	for _, good := range []string{"a", "belljar-1-2", "with blank", "ü", "a.b"} {
		assert.NoError(t, validName("name", good), good)
	}
	for _, bad := range []string{"", ".", "..", ".hidden", "a/b", "/", "a\nb", "a\x00b", "\x7f", string(make([]byte, 256))} {
		assert.ErrorIs(t, validName("name", bad), ErrInvalid, "%q", bad)
	}
}

func TestParentPath(t *testing.T) {
	for _, good := range []string{"/", "/a", "/a/", "/a/b.slice"} {
		assert.NoError(t, ValidParent(good), good)
	}
	for _, bad := range []string{"", "a", "//", "/a//", "/a//b", "/..", "/a/../b", "/./a", "/a\n"} {
		assert.ErrorIs(t, ValidParent(bad), ErrInvalid, "%q", bad)
	}
}

func TestErrorTexts(t *testing.T) {
	for _, c := range []struct {
		err  *Error
		want string
	}{
		{
			&Error{"write", "/c/cgroup.subtree_control", "+memory", syscall.EBUSY},
			`write /c/cgroup.subtree_control "+memory": device or resource busy (a v2 group with member processes can give its children no controllers: move the processes into a child group first)`,
		},
		{
			&Error{"mkdir", "/c/a", "", syscall.EACCES},
			"mkdir /c/a: permission denied (" + remedyDelegate + ")",
		},
		{&Error{"mkdir", "/c/a", "", syscall.EROFS}, "mkdir /c/a: read-only file system (" + remedyReadOnly + ")"},
		{&Error{"mkdir", "/c/a", "", syscall.EEXIST}, "mkdir /c/a: file exists"},
		{
			&Error{"mkdir", "/c/a", "", syscall.EAGAIN},
			"mkdir /c/a: resource temporarily unavailable (cgroup.max.descendants or cgroup.max.depth of a group above is reached)",
		},
		{
			&Error{"write", "/c/cpu.cfs_quota_us", "100", syscall.EINVAL},
			`write /c/cpu.cfs_quota_us "100": invalid argument (v1 allows a group no more CPU than the group above it has)`,
		},
		{
			&Error{"rmdir", "/c/a", "pids 7", syscall.EBUSY},
			`rmdir /c/a "pids 7": device or resource busy (processes are still inside: kill the group first)`,
		},
	} {
		assert.Equal(t, c.want, c.err.Error())
		assert.ErrorIs(t, c.err, c.err.Err.(syscall.Errno))
	}
	missing := &Error{"write", "/c/memory.high", "1", syscall.ENOENT}
	assert.ErrorIs(t, missing, ErrUnsupported)
	assert.NotErrorIs(t, &Error{"write", "/c/memory.high", "1", syscall.EINVAL}, ErrUnsupported)
	u := &UnsupportedError{Feature: "freeze", Reason: "no freezer", Remedy: "mount it", Err: syscall.EROFS}
	assert.Equal(t, "cgroup: freeze: no freezer: read-only file system (mount it)", u.Error())
	assert.True(t, errors.Is(u, ErrUnsupported) && errors.Is(u, syscall.EROFS))
}

// Every field has an entry: one that is set counts for Controllers and Fields,
// and Without takes it away.
func TestFields(t *testing.T) {
	all := Limits{
		Memory: 8192, MemoryHigh: 8192, MemoryLow: 4096, MemoryMin: 4096, Swap: 1, CPUs: 1, CPUWeight: 1, CPUSet: "0", MemoryNodes: "0",
		Pids: 1, IO: []IOLimit{{Device: "8:0", ReadOps: 1}}, IOWeight: 1, Hugepages: []HugepageLimit{{2 << 20, 0}}, OOMGroup: true,
	}
	v := reflect.ValueOf(all)
	var names []string
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		require.False(t, v.Field(i).IsZero(), "the test leaves %s out", name)
		names = append(names, name)
		var one Limits
		reflect.ValueOf(&one).Elem().Field(i).Set(v.Field(i))
		assert.Equal(t, []string{name}, one.Fields())
		assert.NotZero(t, one.Controllers(), name)
		assert.Empty(t, one.Without(name).Fields())
		if name != "OOMGroup" { // which goes with Memory
			assert.Contains(t, all.only(one).Fields(), name)
		}
		assert.Equal(t, one, Limits{}.with(one), name)
	}
	assert.ElementsMatch(t, names, all.Fields())
	assert.Empty(t, all.Without(names...).Fields())
	assert.Equal(t, []string{"MemoryHigh", "Pids"}, all.Without("Memory", "MemoryLow", "MemoryMin", "CPUs", "CPUWeight", "CPUSet", "MemoryNodes", "IO", "IOWeight", "Hugepages").Fields(), "swap and the OOM group go with memory")
}

func TestSets(t *testing.T) {
	set := func(s string) idSet {
		set, err := parseSet(s, maxCPU)
		require.NoError(t, err)
		return set
	}
	for in, want := range map[string]string{"": "", "\n": "", "3": "3", "7,0-1\n": "0-1,7", "0-3,2-5,6": "0-6", "0,1,2": "0-2", "8191": "8191"} {
		assert.Equal(t, want, set(in).String(), in)
	}
	assert.Equal(t, "1-2,7", set("0-2,5-8").and(set("1-4,7")).String())
	assert.Empty(t, set("0").and(set("1")))
}

// What was set is undone, and nothing else.
func TestUndo(t *testing.T) {
	before := Limits{Memory: 8192, IO: []IOLimit{{Device: "8:0", ReadBytes: 1 << 20}}, Hugepages: []HugepageLimit{{2 << 20, 4 << 20}}}
	change := Limits{
		Pids: 5, CPUSet: "0", IOWeight: 7, IO: []IOLimit{{Device: "8:0", WriteOps: 3}, {Device: "8:16", ReadBytes: 1 << 20, Weight: 9}},
		Hugepages: []HugepageLimit{{2 << 20, 0}, {1 << 30, 0}},
	}
	after := before.with(change)
	assert.Equal(t, []IOLimit{{Device: "8:0", ReadBytes: 1 << 20, WriteOps: 3}, change.IO[1]}, after.IO)
	assert.Equal(t, change.Hugepages, after.Hugepages)
	back := before.backFrom(change)
	assert.Equal(t, []IOLimit{{Device: "8:0", ReadBytes: 1 << 20, WriteOps: Max}, {Device: "8:16", ReadBytes: Max, Weight: 100}}, back.IO)
	assert.Equal(t, []HugepageLimit{{2 << 20, 4 << 20}, {1 << 30, Max}}, back.Hugepages)
	assert.Equal(t, []any{Max, AllOfThem, 100, int64(8192)}, []any{back.Pids, back.CPUSet, back.IOWeight, back.Memory})
	assert.Equal(t, 1, len(before.IO), "what it was is not touched")
}

func TestBFQWeight(t *testing.T) {
	last := 0
	for w := 1; w <= 10000; w++ {
		got := bfqWeight(w)
		assert.GreaterOrEqual(t, got, last)
		last = got
	}
	assert.Equal(t, []int{1, 100, 1000}, []int{bfqWeight(1), bfqWeight(100), bfqWeight(10000)})
}
