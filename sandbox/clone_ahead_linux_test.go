package sandbox

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// readied is the clone of a sandbox that stands ready, which there is from the second Clone on.
func (a *cloneAhead) readied() *readyClone {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ready
}

func (a *cloneAhead) isMaking() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.making != nil
}

// aheadOf clones a sandbox until another clone stands ready, and returns that. On a host that mounts all the time it may take a while.
func aheadOf(t testing.TB, sb *Sandbox) (ready *readyClone) {
	t.Helper()
	eventually(t, "a clone is made ahead", func() bool {
		c, err := sb.Clone()
		require.NoError(t, err)
		require.NoError(t, c.Close())
		for tries := 0; tries < 100 || sb.ahead.isMaking(); tries++ {
			if ready = sb.ahead.readied(); ready != nil {
				return true
			}
			time.Sleep(2 * time.Millisecond)
		}
		ready = sb.ahead.readied()
		return ready != nil
	})
	return ready
}

// handedOut is a clone that was made ahead.
func handedOut(t testing.TB, sb *Sandbox) (c *Sandbox) {
	t.Helper()
	eventually(t, "it is handed out", func() bool { // unless somebody mounts something on the host meanwhile
		ready := aheadOf(t, sb)
		var err error
		c, err = sb.Clone()
		require.NoError(t, err)
		if c != ready.Sandbox {
			require.NoError(t, c.Close())
		}
		return c == ready.Sandbox
	})
	t.Cleanup(func() { require.NoError(t, c.Close()) })
	return c
}

// wasAhead tells whether the report is that of a sandbox which was made before it was asked for.
func wasAhead(sb *Sandbox) bool {
	stages := sb.Report().Stages
	return stages[0].Ahead && stages[len(stages)-1].Name == "clone" && !stages[len(stages)-1].Ahead
}

// The one that was made ahead is a clone like any other, and handed out once.
func TestCloneAhead(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("64m"), WithFile("/box/given", []byte("given"), 0o644)))
	first := cloneBox(t, sb)
	assert.False(t, wasAhead(first))
	require.NoError(t, first.Close())
	time.Sleep(2 * aheadQuiet)
	assert.Nil(t, sb.ahead.readied(), "who clones once may never again")
	require.Equal(t, "given", sh(t, sb, "cat /box/given; echo secret > /tmp/left"))
	c := handedOut(t, sb)
	assert.True(t, wasAhead(c), "%v", c.Report().Stages)
	assert.Equal(t, "given", sh(t, c, "cat /box/given; cat /tmp/left 2>/dev/null; echo other > /tmp/left; hostname >/dev/null"))
	s, err := c.Stats()
	require.NoError(t, err)
	assert.Zero(t, s.Memory.OOMKills)
	_, res := try(t, c, hog(80))
	assert.Equal(t, MemoryExceeded, res.Verdict)
	s, err = c.Stats()
	require.NoError(t, err)
	assert.NotZero(t, s.Memory.OOMKills)
	s, err = sb.Stats()
	require.NoError(t, err)
	assert.Zero(t, s.Memory.OOMKills, "accounts of its own")

	next := cloneBox(t, sb)
	assert.NotSame(t, c, next)
	assert.Equal(t, "given", sh(t, next, "cat /box/given; cat /tmp/left 2>/dev/null; true"))
	different := cloneBox(t, sb, WithHostname("other"))
	assert.False(t, wasAhead(different))
	assert.Equal(t, "other", sh(t, different, "hostname"))
}

// However many ask at once, nobody gets what another has got.
func TestCloneAheadOnce(t *testing.T) {
	t.Parallel()
	sb := newBox(t)
	aheadOf(t, sb)
	var mu sync.Mutex
	seen := map[*Sandbox]bool{}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 6 {
				c, err := sb.Clone()
				if !assert.NoError(t, err) {
					return
				}
				mu.Lock()
				assert.False(t, seen[c])
				seen[c] = true
				mu.Unlock()
				out, err := c.Command("/bin/sh", "-c", "cat /tmp/left 2>/dev/null; echo secret > /tmp/left").CombinedOutput(inTime(t))
				assert.NoError(t, err)
				assert.Empty(t, string(out))
				assert.NoError(t, c.Close())
			}
		})
	}
	all.Wait()
}

// One that has died meanwhile is nobody's, and another is made.
func TestCloneAheadDies(t *testing.T) {
	t.Parallel()
	sb := newBox(t)
	ready := aheadOf(t, sb)
	require.NoError(t, unix.Kill(ready.PID(), unix.SIGKILL))
	require.NoError(t, ready.Wait())
	c := cloneBox(t, sb)
	assert.NotSame(t, ready.Sandbox, c)
	assert.Equal(t, "here", sh(t, c, "echo here"))
	assert.NotSame(t, ready, aheadOf(t, sb))
}

// What it has of the host is what there was when it was made: where a New would find something else it is not used.
func TestCloneAheadOfAnotherHost(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o755))
	bound := filepath.Join(dir, "bound")
	fill := func(text string) {
		fresh := filepath.Join(dir, text)
		require.NoError(t, os.Mkdir(fresh, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(fresh, "f"), []byte(text), 0o644))
		_ = os.Rename(bound, filepath.Join(dir, "before-"+text))
		require.NoError(t, os.Rename(fresh, bound))
	}
	fill("one")
	sb := standing(t, WithBind(bound, "/mnt", ReadOnly))
	const script = "cat /mnt/f; cat /mnt/sub/f 2>/dev/null; true"
	look := func() string { return sh(t, cloneBox(t, sb), script) }
	assert.Equal(t, "one", sh(t, handedOut(t, sb), script), "control")
	old := aheadOf(t, sb)
	fill("two")
	assert.Equal(t, "two", look())
	require.NoError(t, old.Wait())
	if os.Geteuid() != 0 {
		return
	}
	sub := filepath.Join(bound, "sub")
	require.NoError(t, os.Mkdir(sub, 0o755))
	aheadOf(t, sb)
	require.NoError(t, unix.Mount("tmpfs", sub, "tmpfs", 0, "size=64k"))
	t.Cleanup(func() { _ = unix.Unmount(sub, unix.MNT_DETACH) })
	require.NoError(t, os.WriteFile(filepath.Join(sub, "f"), []byte("mounted"), 0o644))
	assert.Equal(t, "twomounted", look())
}

// It goes with what it was made of, and when nobody wants it, and nothing of it is left.
func TestCloneAheadGoes(t *testing.T) {
	first := newBox(t)
	aheadOf(t, first)
	require.NoError(t, first.Close())
	before := settled(t)
	for name, end := range map[string]func(sb *Sandbox, ready *readyClone){
		"closed": func(sb *Sandbox, _ *readyClone) { require.NoError(t, sb.Close()) },
		"PID 1 killed": func(sb *Sandbox, _ *readyClone) {
			require.NoError(t, unix.Kill(sb.PID(), unix.SIGKILL))
			require.NoError(t, sb.Wait())
		},
		"unused": func(sb *Sandbox, ready *readyClone) { sb.ahead.drop(ready); require.NoError(t, ready.Wait()) },
		"updated": func(sb *Sandbox, ready *readyClone) {
			require.NoError(t, sb.Update(WithWallTime(time.Minute)))
			assert.Equal(t, Exited, ready.State())
		},
		"restarted": func(sb *Sandbox, ready *readyClone) {
			require.NoError(t, sb.Restart(inTime(t)))
			assert.Equal(t, Exited, ready.State())
		},
	} {
		t.Run(name, func(t *testing.T) {
			sb, err := New()
			require.NoError(t, err)
			ready := aheadOf(t, sb)
			require.NotEqual(t, before, held(t), "control")
			end(sb, ready)
			if sb.State() == Exited {
				assert.Equal(t, Exited, ready.State())
			}
			require.NoError(t, sb.Close())
			unchanged(t, before, name)
		})
	}
	// Also when it is being made while the end comes.
	for i := range 8 {
		sb, err := New()
		require.NoError(t, err)
		for range 2 {
			c, err := sb.Clone()
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
		time.Sleep(time.Duration(i) * 500 * time.Microsecond)
		require.NoError(t, sb.Close())
		sb.ahead.mu.Lock()
		assert.Nil(t, sb.ahead.making)
		assert.Nil(t, sb.ahead.ready)
		sb.ahead.mu.Unlock()
	}
	unchanged(t, before, "closed meanwhile")
}

// When the zygote dies it goes too, and the clones of the next one's sandboxes have theirs.
func TestCloneAheadWithoutZygote(t *testing.T) {
	sb := newBox(t)
	ready := aheadOf(t, sb)
	waiting := append(joinersOf(t), readyOf(t)...)
	killZygote(t)
	require.NoError(t, sb.Wait())
	require.NoError(t, ready.Wait())
	eventually(t, "gone with the zygote", func() bool { // whose lock they may hold till then
		leaktest.ReapOrphans()
		return !slices.ContainsFunc(waiting, func(w leaktest.Process) bool {
			p, ok := leaktest.Lookup(strconv.Itoa(w.PID))
			return ok && p.Start == w.Start && !p.Zombie()
		})
	})
	_, err := sb.Clone()
	require.ErrorIs(t, err, ErrClosed)
	aheadOf(t, newBox(t))
}

// The end of a sandbox does not wait for ever for a clone of it that is being made: it says so, and what is made after all comes to nothing.
func TestCloneAheadHangs(t *testing.T) {
	t.Parallel()
	for _, hangs := range []bool{false, true} {
		sb, err := New(WithHostname(fmt.Sprint("ahead-hangs-", hangs)))
		require.NoError(t, err)
		a := &sb.ahead
		began, goOn := make(chan struct{}), make(chan struct{})
		once := sync.OnceFunc(func() { close(began) })
		a.mu.Lock()
		a.begun = func() { once(); <-goOn }
		a.patience = patience
		if hangs {
			a.patience = time.Millisecond
		}
		a.mu.Unlock()
		for range 2 {
			c, err := sb.Clone()
			require.NoError(t, err)
			require.NoError(t, c.Close())
		}
		<-began
		closed := make(chan error, 1)
		go func() { closed <- sb.Close() }()
		if hangs {
			err = <-closed
			require.ErrorIs(t, err, unix.EBUSY)
			var e *Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, "close", e.Stage)
			close(goOn)
		} else {
			eventually(t, "it is being ended", func() bool { return sb.State() == Exited })
			close(goOn)
			require.NoError(t, <-closed)
		}
		p, ok := leaktest.Lookup(strconv.Itoa(sb.PID()))
		assert.False(t, ok && !p.Zombie(), "the sandbox itself is gone")
		eventually(t, "nothing is made any more", func() bool { return !a.isMaking() })
		a.work.Wait()
		assert.Nil(t, a.readied())
	}
}
