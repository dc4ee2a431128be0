//go:build linux

package launch

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// What two processes, or threads, may have in common (enum kcmp_type in <linux/kcmp.h>).
const (
	kcmpVM    = 1
	kcmpFiles = 2
)

// same tells by kcmp(2) whether two have the same of a kind.
func same(t *testing.T, kind, a, b int) bool {
	t.Helper()
	is, err := compare(kind, a, b)
	if err == unix.ENOSYS {
		t.Skip("no kcmp(2) in this kernel")
	}
	require.NoError(t, err)
	return is
}

func compare(kind, a, b int) (same bool, err error) {
	res, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), uintptr(kind), 0, 0, 0)
	if errno != 0 {
		return false, errno
	}
	return res == 0, nil
}

// sharesMemory tells whether a process has this one's memory.
func sharesMemory(t *testing.T, pid int) bool {
	t.Helper()
	return same(t, kcmpVM, os.Getpid(), pid)
}

// hanging returns the process of a launch whose last step but the exec never ends, when it has come to that.
func hanging(t *testing.T, h *Handle) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		pid = 0
		if l := h.launch; l != nil && l.ctl.progress == l.ctl.nsteps-2 {
			pid = int(l.ctl.pid)
		}
		return pid != 0
	}, patience, time.Millisecond)
	return pid
}

// seedNumber is the PID of the seed, which is made if there is none.
func seedNumber(t *testing.T) int {
	t.Helper()
	theSeed.mu.Lock()
	defer theSeed.mu.Unlock()
	require.NoError(t, theSeed.live())
	return int(theSeed.p.arena.ctl.pid)
}

// A process that is on its way to its exec shares this process's memory only where it is in no job's cgroup.
func TestJoinsShareNoMemory(t *testing.T) {
	base := joinBase(1)
	j := joiner(t, base)
	assert.False(t, sharesMemory(t, j.number()))
	assert.False(t, sharesMemory(t, seedNumber(t)))
	for name, c := range map[string]struct {
		Request
		shares bool
	}{
		"joiner": {Request{Plan: after(base, hangForever), Mode: Join, Joiner: j}, false},
		"join":   {Request{Plan: after(base, hangForever), Mode: Join}, false},
		"copy":   {Request{Plan: after(base, hangForever), Mode: Copy}, false},
		"control": {Request{Plan: func() *plan.Plan {
			b := builder(Direct)
			hangForever(b)
			execTrue(b, "/bin/true")
			return b.Plan()
		}()}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var h Handle
			c.Cgroup, c.Handle = -1, &h
			over := make(chan *Process)
			go func() {
				p, _ := Launch(&c.Request)
				over <- p
			}()
			pid := hanging(t, &h)
			assert.Equal(t, c.shares, sharesMemory(t, pid))
			if !c.shares && c.Mode == Join {
				kb, err := strconv.Atoi(strings.TrimSuffix(procLine(t, pid, "status", "VmRSS:"), " kB"))
				require.NoError(t, err)
				assert.Less(t, kb, 1024, "nothing that a job's limit would notice")
			}
			assert.False(t, executed(pid))
			h.Kill()
			if p := <-over; p != nil {
				assert.Equal(t, unix.SIGKILL, wait(t, p).Signal())
			}
		})
	}
}

// A process whose program runs is known as one also where nobody has been told.
func TestExecuted(t *testing.T) {
	p, err := Launch(&Request{Plan: sleeper(joinBase(1)), Mode: Join, Cgroup: -1})
	require.NoError(t, err)
	require.Eventually(t, func() bool { return executed(p.PID) }, patience, time.Millisecond, "what the launch is told of comes a moment before")
	require.NoError(t, unix.Kill(p.PID, unix.SIGKILL))
	assert.Equal(t, unix.SIGKILL, wait(t, p).Signal())
	assert.False(t, executed(p.PID), "nor is one that is gone")
}

// The seed has the walk, the arenas, and what the kernel maps into everybody.
func TestSeedHasNoMemory(t *testing.T) {
	maps, err := os.ReadFile("/proc/" + strconv.Itoa(seedNumber(t)) + "/maps")
	require.NoError(t, err)
	var kinds []string
	for _, line := range strings.Split(strings.TrimSpace(string(maps)), "\n") {
		if f := strings.Fields(line); !strings.HasPrefix(f[len(f)-1], "[v") {
			kinds = append(kinds, f[1])
		}
	}
	assert.Equal(t, []string{"r-xp", "rw-s"}, kinds, "%s", maps)
}

// Whoever kills the seed gets another one.
func TestSeedKilled(t *testing.T) {
	const rounds = 20
	base := joinBase(1)
	for i := range rounds {
		theSeed.mu.Lock()
		require.NoError(t, theSeed.live())
		p := theSeed.p
		pidfd, err := unix.FcntlInt(uintptr(p.pidfd), unix.F_DUPFD_CLOEXEC, 0)
		theSeed.mu.Unlock()
		require.NoError(t, err)
		killed := make(chan error)
		go func() {
			time.Sleep(time.Duration(i*5) * time.Microsecond)
			killed <- unix.PidfdSendSignal(pidfd, unix.SIGKILL, nil, 0)
		}()
		for range 3 {
			p, err := Launch(&Request{Plan: after(base, func(*plan.Builder) {}), Mode: Join, Cgroup: -1})
			require.NoError(t, err)
			assert.Equal(t, 0, wait(t, p).ExitStatus())
			j, err := NewJoiner(base)
			require.NoError(t, err)
			j.Close()
		}
		if err := <-killed; err != nil {
			require.ErrorIs(t, err, unix.ESRCH, "it was the last round's, about to die")
		}
		require.NoError(t, unix.Close(pidfd))
	}
	assert.Empty(t, children(t))
}

// Nor does a launch that has to make another seed wait for who looks for strangers, who waits for the launch.
func TestSeedKilledBesideReaping(t *testing.T) {
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				ReapStrangers()
			}
		}
	})
	base := joinBase(1)
	for range 50 {
		theSeed.mu.Lock()
		require.NoError(t, theSeed.live())
		theSeed.p.kill()
		for !endsIn(theSeed.p.pidfd, 100) {
		}
		if theSeed.next != nil && theSeed.next.begun() == nil { // so that the next launch makes a seed itself
			theSeed.next.end()
		}
		theSeed.next = nil
		theSeed.mu.Unlock()
		p, err := Launch(&Request{Plan: after(base, func(*plan.Builder) {}), Mode: Join, Cgroup: -1})
		require.NoError(t, err)
		var ws unix.WaitStatus
		_, err = Wait(p.PID, &ws, 0, nil)
		require.NoError(t, err)
		require.NoError(t, unix.Close(p.PIDFD))
		assert.Equal(t, 0, ws.ExitStatus())
	}
	close(stop)
	wg.Wait()
	childless(t)
}

// A process whose first process is killed before its exec ends, and so does the launch.
func TestOrphan(t *testing.T) {
	base := joinBase(1)
	j := joiner(t, base)
	for name, r := range map[string]*Request{
		"joiner": {Plan: after(base, hangForever), Mode: Join, Joiner: j},
		"join":   {Plan: after(base, hangForever), Mode: Join},
		"copy":   {Plan: after(base, hangForever), Mode: Copy},
	} {
		t.Run(name, func(t *testing.T) {
			var h Handle
			r.Cgroup, r.Handle = -1, &h
			killed := make(chan error, 1)
			go func() {
				for {
					h.mu.Lock()
					l := h.launch
					first := j.number()
					if l != nil && r.Joiner == nil {
						first = int(l.first.Load())
					}
					if l != nil && first > 0 && l.ctl.progress == l.ctl.nsteps-2 {
						killed <- unix.Kill(first, unix.SIGKILL)
						h.mu.Unlock()
						return
					}
					h.mu.Unlock()
					time.Sleep(time.Millisecond)
				}
			}()
			p, err := Launch(r)
			require.NoError(t, <-killed)
			require.NoError(t, err, "as one that somebody kills after it")
			assert.Equal(t, unix.SIGKILL, wait(t, p).Signal())
		})
	}
}

// A first process that is killed before it has made the second one is replaced by another, once.
func TestFirstProcessKilled(t *testing.T) {
	for name, kills := range map[string]int{"once": 1, "twice": 2} {
		t.Run(name, func(t *testing.T) {
			var gate [2]int
			require.NoError(t, unix.Pipe2(gate[:], unix.O_CLOEXEC))
			defer closeFD(gate[0])
			defer closeFD(gate[1])
			b := builder(Direct)
			in := b.Input("gate")
			b.Call(unix.SYS_READ, "read", "gate", plan.R(in), b.Bytes(make([]byte, 8), ""), plan.Int(1))
			forkStep(b)
			var h Handle
			done := make(chan error, kills+1)
			go func() {
				defer close(done)
				killed := map[int]bool{}
				for end := time.Now().Add(patience); len(killed) < kills && time.Now().Before(end); time.Sleep(time.Millisecond) {
					h.mu.Lock()
					if h.launch != nil {
						if first := int(h.launch.first.Load()); first > 0 && !killed[first] {
							killed[first] = true
							if err := unix.Kill(first, unix.SIGKILL); err != nil {
								done <- err
							}
						}
					}
					h.mu.Unlock()
				}
				// One that has been killed may still take a byte on its way out.
				if _, err := unix.Write(gate[1], make([]byte, kills+1)); err != nil {
					done <- err
				}
			}()
			p, err := Launch(&Request{Plan: after(b.Plan(), func(*plan.Builder) {}), Files: []int{gate[0]}, Mode: Join, Cgroup: -1, Handle: &h})
			require.NoError(t, <-done)
			if kills == 1 {
				require.NoError(t, err)
				assert.Equal(t, 0, wait(t, p).ExitStatus())
			} else {
				require.ErrorIs(t, err, unix.EINTR)
				assert.Nil(t, p)
			}
			assert.Empty(t, children(t))
		})
	}
}

func TestKernelMaps(t *testing.T) {
	own, top := kernelMaps([]byte(`00400000-00500000 r-xp 00000000 fe:00 1     /bin/x y
c000000000-c000400000 rw-p 00000000 00:00 0
7f0000001000-7f0000003000 r--p 00000000 00:00 0                  [vvar]
7f0000003000-7f0000004000 r-xp 00000000 00:00 0                  [vdso]
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                  [stack]
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0          [vsyscall]
`))
	assert.Equal(t, []span{{0x7f0000001000, 0x7f0000003000}, {0x7f0000003000, 0x7f0000004000}}, own)
	assert.EqualValues(t, 0x7ffd00021000, top)
	assert.Equal(t, []span{{0, 0x410000}, {0x420000, 0x7f0000001000}, {0x7f0000004000, 0x7ffd00021000}}, between(append(own, span{0x410000, 0x420000}), top))
	assert.Equal(t, []span{{2, 3}}, between([]span{{0, 2}, {1, 2}, {3, 9}}, 8))
}
