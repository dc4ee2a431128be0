//go:build linux

package launch

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// ownTable is the step with which a plan takes a table of descriptors of its own.
func ownTable(b *plan.Builder) {
	b.Call(unix.SYS_CLOSE_RANGE, "close_range", "descriptors", plan.R(b.Reg("table")), plan.Int(1<<32-1), plan.Int(unix.CLOSE_RANGE_UNSHARE))
}

// manyFiles opens so many descriptors.
func manyFiles(t *testing.T, n int) []int {
	t.Helper()
	all := make([]int, n)
	for i := range all {
		fd, err := unix.Open("/dev/zero", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		require.NoError(t, err)
		all[i] = fd
	}
	t.Cleanup(func() {
		for _, fd := range all {
			require.NoError(t, unix.Close(fd))
		}
	})
	return all
}

// slotsAreEmpty checks that nobody uses a slot and that nothing is in any.
func slotsAreEmpty(t *testing.T) {
	t.Helper()
	slots.Lock()
	defer slots.Unlock()
	require.NotEmpty(t, slots.sets)
	for _, s := range slots.sets {
		assert.False(t, s.used)
		for fd := s.first; fd < s.first+slotsEach; fd++ {
			what, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
			require.NoError(t, err)
			assert.Equal(t, "/dev/null", what)
		}
	}
}

// A process takes with it what its plan reads, and nothing else of a large table, however much of it there is in front.
func TestOwnTable(t *testing.T) {
	many := manyFiles(t, 500)
	top := many[len(many)-1]
	for _, inputs := range []int{1, slotsEach, slotsEach + 1} {
		for name, m := range modes {
			t.Run(fmt.Sprintf("%s, %d", name, inputs), func(t *testing.T) {
				b := builder(m)
				var in, has []plan.Reg
				var files []int
				for i := range inputs {
					in, has, files = append(in, b.Input("file")), append(has, b.Reg("has")), append(files, many[len(many)-1-i])
				}
				ownTable(b)
				for i, r := range in {
					b.Call(unix.SYS_LSEEK, "lseek", "file", plan.R(r), plan.Zero, plan.Zero).Tolerate(unix.EBADF).To(has[i])
				}
				low, high, null := b.Reg("low"), b.Reg("high"), b.Reg("null")
				b.Call(unix.SYS_FCNTL, "fcntl", "", plan.Int(many[100]), plan.Int(unix.F_GETFD)).Tolerate(unix.EBADF).To(low)
				b.Call(unix.SYS_FCNTL, "fcntl", "", plan.Int(top+1), plan.Int(unix.F_DUPFD_CLOEXEC)).Tolerate(unix.EBADF).To(high)
				b.Call(unix.SYS_FCNTL, "fcntl", "", plan.Int(0), plan.Int(unix.F_GETFD)).Tolerate(unix.EBADF).To(null)
				execTrue(b, "/bin/true")
				p, err := Launch(&Request{Plan: b.Plan(), Mode: m, Flags: unix.CLONE_FILES, Files: files, Cgroup: -1})
				require.NoError(t, err)
				assert.Equal(t, 0, wait(t, p).ExitStatus())
				for i := range in {
					assert.Zero(t, p.Regs[has[i]], "file %d", i)
				}
				assert.Equal(t, int64(-int(unix.EBADF)), p.Regs[high])
				assert.GreaterOrEqual(t, p.Regs[null], int64(0), "what is below is there")
				if inputs <= slotsEach {
					assert.Equal(t, int64(-int(unix.EBADF)), p.Regs[low], "of many, none")
					assert.Less(t, int(p.Regs[in[0]]), slotsFrom+slotsEach*setsMost)
				} else {
					assert.GreaterOrEqual(t, p.Regs[low], int64(0), "the control: without slots all are copied up to the last that is needed")
				}
				slotsAreEmpty(t)
			})
		}
	}
}

// Failures and kills give slots back, and more launches at once than there are sets go on without.
func TestSlotsComeBack(t *testing.T) {
	many := manyFiles(t, 100)
	launch := func(end func(*plan.Builder)) error {
		b := builder(Join)
		in := b.Input("file")
		ownTable(b)
		b.Call(unix.SYS_LSEEK, "lseek", "file", plan.R(in), plan.Zero, plan.Zero)
		end(b)
		p, err := Launch(&Request{Plan: b.Plan(), Mode: Join, Files: many[99:], Cgroup: -1})
		if err == nil {
			assert.Equal(t, 0, wait(t, p).ExitStatus())
		}
		return err
	}
	var all sync.WaitGroup
	for i := range 6 * setsMost {
		all.Go(func() {
			if i%2 == 0 {
				assert.NoError(t, launch(func(b *plan.Builder) { execTrue(b, "/bin/true") }))
				return
			}
			assert.ErrorIs(t, launch(func(b *plan.Builder) { execTrue(b, "/nonexistent") }), unix.ENOENT)
		})
	}
	all.Wait()
	slotsAreEmpty(t)
}

// A process that shares the table and cannot be ended keeps its slots, until it is gone.
func TestSlotsOfTheStuck(t *testing.T) {
	b := builder(Direct)
	in := b.Input("file")
	ownTable(b)
	b.Call(unix.SYS_LSEEK, "lseek", "file", plan.R(in), plan.Zero, plan.Zero)
	a, err := newArena(b.Plan())
	require.NoError(t, err)
	many := manyFiles(t, 50)
	l := &launch{Request: &Request{Plan: b.Plan(), Files: many[49:]}, arena: a, kept: -1}
	l.putFiles(b.Plan().Inputs)
	set := l.slots
	require.NotNil(t, set)
	fd := int(*l.reg(in))
	assert.Equal(t, set.first, fd)
	assert.Equal(t, int64(fd+1), *l.reg(l.tableEnd))
	l.leaveSlots()
	l.release()
	assert.True(t, set.used)
	what, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
	require.NoError(t, err)
	assert.Equal(t, "/dev/zero", what)

	atomic.StoreUint32(&a.ctl.done, 0) // as the kernel does when the process ends
	pool.Lock()
	pool.reclaim()
	pool.Unlock()
	slotsAreEmpty(t)
}
