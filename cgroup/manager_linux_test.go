package cgroup

import (
	"encoding/json"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestReader(t *testing.T) {
	m := testManager(t, Limits{Pids: 20})
	l := testLeaf(t, m, "cmd", Limits{})
	cmd := start(t, l, "sleep", "100")
	b, err := json.Marshal([]Description{m.Describe(), l.Describe()})
	require.NoError(t, err)
	var ds []Description
	require.NoError(t, json.Unmarshal(b, &ds))
	eventually(t, "inside", func() bool { p, _ := l.Procs(); return len(p) == 1 })
	eventually(t, "its exec", func() bool { return slurp(t, "/proc/"+itoa(cmd.Process.Pid)+"/comm") == "sleep" }) // not frozen before, or in it
	eventually(t, "memory used", func() bool { s, err := l.Stats(); return err == nil && s.Memory.Current > 0 })
	require.NoError(t, m.Freeze(late()))
	for i, d := range ds {
		r, err := Open(d)
		require.NoError(t, err)
		s, err := r.Stats()
		require.NoError(t, err)
		assert.Equal(t, 1, s.Pids.Current)
		assert.Positive(t, s.Memory.Current)
		pids, err := r.Procs()
		require.NoError(t, err)
		assert.Equal(t, []int{cmd.Process.Pid}, pids)
		some, err := r.Populated()
		require.NoError(t, err)
		assert.True(t, some)
		is, err := r.Frozen()
		require.NoError(t, err)
		assert.True(t, is || i == 1 && versionOf(m.dirs, FreezerController) == 1)
		require.NoError(t, r.Close())
		require.NoError(t, r.Close())
		_, err = r.Stats()
		require.ErrorIs(t, err, ErrClosed)
	}
	r, err := Open(ds[1])
	require.NoError(t, err)
	defer r.Close()
	require.NoError(t, l.Kill(late()))
	require.NoError(t, l.Delete())
	_, err = r.Stats()
	require.Error(t, err)
	assert.True(t, gone(err), err)
	_, err = Open(ds[1])
	require.ErrorIs(t, err, unix.ENOENT)
}

// Everything at once; the race detector and the clean-up are the judges.
func TestConcurrent(t *testing.T) {
	m := testManager(t, Limits{Pids: 200, Memory: 256 << 20})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for j := range 8 {
				l, err := m.NewLeaf(fmt.Sprint("cmd", i, "-", j), Limits{})
				if !assert.NoError(t, err) {
					return
				}
				cmd := command(l, "sleep", "100")
				assert.NoError(t, cmd.Start())
				closeExtra(cmd)
				_, err = m.Stats()
				assert.NoError(t, err)
				_, err = l.CPUUsage()
				assert.NoError(t, err)
				assert.NoError(t, l.Kill(late()))
				_ = cmd.Process.Kill() // in case it had not got inside yet
				_ = cmd.Wait()
				_, err = l.Totals()
				assert.NoError(t, err)
				assert.NoError(t, l.Delete())
			}
		}()
	}
	wg.Wait()
	m.lm.Lock()
	defer m.lm.Unlock()
	assert.Empty(t, m.leaves)
}

// Delete may come while others read.
func TestDeleteWhileReading(t *testing.T) {
	m, err := New(testParent(t), "sb", Limits{Pids: 20})
	require.NoError(t, err)
	l := testLeaf(t, m, "cmd", Limits{})
	var wg sync.WaitGroup
	for range 3 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for {
				_, err := l.Stats()
				_, err2 := l.CPUUsage()
				if _, err3 := m.Stats(); err != nil && err2 != nil && err3 != nil {
					assert.ErrorIs(t, err3, ErrClosed)
					return
				}
			}
		}()
	}
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, m.Delete())
	wg.Wait()
}

// A parent without directories stands for a host that gives us nothing:
// everything can be called, nothing is counted and no limit is accepted.
func TestNoHierarchy(t *testing.T) {
	w, err := NewOwner(Parent{}, os.Getpid(), Options{})
	require.NoError(t, err)
	_, err = New(w.Parent(), "sb", Limits{Pids: 1})
	require.ErrorIs(t, err, ErrUnsupported)
	m, err := New(w.Parent(), "sb", Limits{})
	require.NoError(t, err)
	assert.Equal(t, DefaultAccounts, m.Missing())
	l := testLeaf(t, m, "cmd", Limits{})
	assert.Equal(t, -1, l.FD())
	assert.Empty(t, l.TasksFDs())
	for _, read := range []func() (Stats, error){l.Stats, l.Totals, m.Stats} {
		s, err := read()
		require.NoError(t, err)
		assert.Equal(t, Stats{}, s)
	}
	require.ErrorIs(t, m.Freeze(late()), ErrUnsupported)
	require.ErrorIs(t, errOf(l.CPUUsage()), ErrUnsupported)
	require.NoError(t, l.Kill(late()))
	require.NoError(t, m.Kill(late()))
	require.NoError(t, m.Delete())
	require.NoError(t, w.Close())
}

// Block devices are accounted for where that was asked.
func TestIOAccounts(t *testing.T) {
	h, err := Detect()
	require.NoError(t, err)
	base, err := h.Base(IOController | MemoryController)
	if err != nil && os.Geteuid() != 0 {
		skip(t, "no delegated cgroup: "+err.Error())
	}
	require.NoError(t, err)
	o := Options{Accounts: DefaultAccounts | IOController}
	w, err := NewOwner(base, os.Getpid(), o)
	require.NoError(t, err)
	defer func() { require.NoError(t, w.Close()) }()
	m, err := NewWith(w.Parent(), "sb", Limits{}, o)
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Delete()) }()
	assert.Zero(t, m.Missing())
	p := m.ps.of(IOController)
	if p.Version == 2 {
		assert.FileExists(t, p.Path+"/io.stat")
	}
	l := testLeaf(t, m, "cmd", Limits{})
	require.NoError(t, run(command(l, "true")))
	_, err = m.Stats()
	require.NoError(t, err)
	require.NoError(t, l.Delete())
}
