package cgroup

import (
	"errors"
	"math"
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
