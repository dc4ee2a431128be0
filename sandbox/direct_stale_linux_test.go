package sandbox

import (
	"io"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/leaktest"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// inOffer is the process of the offer that was looked at, or claimed, last, by whoever has the lock.
func inOffer(sb *Sandbox) (pid int, joiner bool) {
	o, _ := wire.ParseOffering(sb.engine.direct.seen)
	p, ok := leaktest.Lookup(strconv.Itoa(o.PID))
	return o.PID, ok && p.Name == launch.JoinerName
}

// killOffered has whoever has been offered be gone.
func killOffered(t *testing.T, sb *Sandbox) {
	pid, ok := inOffer(sb)
	if ok {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	eventually(t, "it is gone", func() bool { return isGone(pid) })
}

// stopOffered has it do nothing any more.
func stopOffered(t *testing.T, sb *Sandbox) {
	pid, ok := inOffer(sb)
	if ok {
		_ = unix.Kill(pid, unix.SIGSTOP)
	}
	eventually(t, "it is stopped", func() bool {
		p, ok := leaktest.Lookup(strconv.Itoa(pid))
		return !ok || p.State == 'T' || p.Zombie()
	})
}

// until runs commands by the zygote, since this program is about to start one itself, until another one has been offered at the port, or the zygote has left that.
func until(t *testing.T, sb *Sandbox, memory int64) {
	b := make([]byte, wire.OfferingRoom)
	eventually(t, "another, or none any more", func() bool {
		c := sb.Command("/bin/sh", "-c", "exit 3")
		c.Limits.Memory = memory
		res, err := c.Run(inTime(t))
		require.NoError(t, err)
		require.Equal(t, 3, res.ExitCode)
		time.Sleep(2 * time.Millisecond)
		n, err := sb.engine.direct.port.Peek(b)
		return n > 0 || err == io.EOF
	})
}

// What was meant for a process that has been offered is executed once, by that process or in another way, whatever happens between any two steps of its start, and by no process that is offered later.
func TestDirectStale(t *testing.T) {
	t.Parallel()
	wanted := func(t *testing.T, sb *Sandbox) {
		_, err := sb.Stats()
		require.NoError(t, err)
	}
	next := func(t *testing.T, sb *Sandbox) { until(t, sb, 0) }
	another := func(t *testing.T, sb *Sandbox) { until(t, sb, 64<<20) } // for commands like that
	type meanwhile map[string][]func(*testing.T, *Sandbox)
	for name, c := range map[string]meanwhile{
		"killed, and then sent":         {"send": {killOffered, next}},
		"killed, and nobody noticed":    {"send": {killOffered}},
		"killed before it was said":     {"fill": {killOffered, next}},
		"killed before it was claimed":  {"claim": {killOffered}},
		"wanted, and then sent":         {"send": {wanted}},
		"wanted, killed, and then sent": {"send": {wanted, killOffered, next}},
		"taken back and offered again":  {"claim": {wanted, next}},
		"taken back, another offered":   {"claim": {wanted, another}},
		"sent, and not looked at":       {"send": {stopOffered}, "wait": {killOffered}},
		"sent, not looked at, wanted":   {"send": {stopOffered}, "wait": {wanted, killOffered, next}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			sb := limited(t)
			for met := 0; met < len(c); {
				require.NoError(t, sb.WriteFile("/box/ran", nil, 0o666))
				offered(t, sb)
				met = 0
				stop := interfere(sb, func(step string, _ *commandPlan) bool {
					if fs := c[step]; len(fs) > 0 {
						met++
						for _, f := range fs {
							f(t, sb)
						}
					}
					return true
				})
				cmd := sb.Command("/bin/sh", "-c", "echo x >>/box/ran; exit 4")
				cmd.Stdout = &strings.Builder{}
				res, err := cmd.Run(inTime(t))
				stop()
				require.NoError(t, err)
				assert.Equal(t, 4, res.ExitCode)
				assert.Equal(t, "x\n", inBox(t, sb, "/box/ran"), "once")
			}
			_, res := directly(t, sb, "/bin/sh", "-c", "exit 5")
			assert.Equal(t, 5, res.ExitCode, "and the next")
		})
	}
}

func inBox(t *testing.T, sb *Sandbox, path string) string {
	t.Helper()
	f, err := sb.FS().Open(path[1:])
	require.NoError(t, err)
	defer f.Close()
	b, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(b)
}

// No two commands share a /dev/null: one would see what another has set there.
func TestDirectNull(t *testing.T) {
	t.Parallel()
	sb := limited(t)
	flags := func() string {
		directly(t, sb, "/bin/sh", "-c", "cat /proc/self/fdinfo/0 >/box/flags")
		_, f, ok := strings.Cut(inBox(t, sb, "/box/flags"), "flags:")
		require.True(t, ok)
		return strings.Fields(f)[0]
	}
	before := flags()
	d := &sb.engine.direct
	changeNext := func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		require.True(t, d.null.open, "the next one's is there")
		was, err := unix.FcntlInt(uintptr(d.null.fd), unix.F_GETFL, 0)
		require.NoError(t, err)
		_, err = unix.FcntlInt(uintptr(d.null.fd), unix.F_SETFL, was|unix.O_NONBLOCK)
		require.NoError(t, err)
	}
	eventually(t, "the control: it is that one", func() bool { // unless it went to a command that did not end as a direct one does, after which there was another
		changeNext()
		return flags() != before
	})
	assert.Equal(t, before, flags())
}
