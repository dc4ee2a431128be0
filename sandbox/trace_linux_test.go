package sandbox

import (
	"bytes"
	"context"
	"io"
	"runtime/pprof"
	"runtime/trace"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Where the time of a command went adds up to no more than the time that it took, and nothing of it is lost.
func TestCommandStages(t *testing.T) {
	t.Parallel()
	sb := standing(t)
	for _, c := range []struct {
		name string
		run  func(*Cmd) (*Result, error)
	}{
		{"run", func(c *Cmd) (*Result, error) { return c.Run(inTime(t)) }},
		{"output", func(c *Cmd) (*Result, error) { c.Stdout = new(bytes.Buffer); return c.Run(inTime(t)) }},
		{"start", func(c *Cmd) (*Result, error) {
			if err := c.Start(inTime(t)); err != nil {
				return nil, err
			}
			return c.Wait()
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			cmd := sb.Command("/bin/sh", "-c", "sleep 0.05")
			begin := time.Now()
			res, err := c.run(cmd)
			took := time.Since(begin)
			require.NoError(t, err)
			require.NoError(t, res.Err())
			var names []string
			var sum time.Duration
			of := map[string]time.Duration{}
			for _, s := range res.Stages() {
				names, sum, of[s.Name] = append(names, s.Name), sum+s.Duration, s.Duration
				assert.GreaterOrEqual(t, s.Duration, time.Duration(0), s.Name)
				assert.False(t, s.Ahead, s.Name)
			}
			assert.Equal(t, []string{"prepare", "messages", "leaf", "launch", "run", "accounts", "output"}, names)
			assert.LessOrEqual(t, sum, took)
			// It may sleep already when it is noticed that it has been executed.
			assert.GreaterOrEqual(t, of["launch"]+of["run"], 50*time.Millisecond, "the program sleeps for that long")
			assert.Positive(t, of["run"])
			assert.Equal(t, res.Usage.Wall, of["launch"]+of["run"])
		})
	}
}

// A report says what it was that took its time: of a sandbox that was made for the caller, of a clone, of one out of a pool, and of the end.
func TestReportStages(t *testing.T) {
	t.Parallel()
	names := func(sb *Sandbox) (ahead, waited []string) {
		for _, s := range sb.Report().Stages {
			assert.GreaterOrEqual(t, s.Duration, time.Duration(0), s.Name)
			if s.Ahead {
				ahead = append(ahead, s.Name)
			} else {
				waited = append(waited, s.Name)
			}
		}
		return ahead, waited
	}
	sb := newBox(t)
	clone, err := sb.Clone()
	require.NoError(t, err)
	for what, sb := range map[string]*Sandbox{"new": sb, "clone": clone} {
		_, waited := names(sb)
		assert.Subset(t, waited, []string{"zygote", "compile", "create"}, what)
		assert.NotContains(t, waited, "close", what)
	}
	require.NoError(t, clone.Close())
	_, waited := names(clone)
	assert.Equal(t, []string{"zygote: kill", "zygote: cgroup", "zygote: PID 1", "close"}, waited[len(waited)-4:])

	p, err := NewPool(1)
	require.NoError(t, err)
	defer p.Close()
	member, err := p.Get(inTime(t))
	require.NoError(t, err)
	ahead, waited := names(member)
	assert.Subset(t, ahead, []string{"zygote", "compile", "create"})
	assert.Equal(t, []string{"pool"}, waited)
	assert.Contains(t, member.Report().String(), ", ahead of time\n")
	require.NoError(t, member.Close())
}

// Not parallel: there is one trace in a process.
func TestTrace(t *testing.T) {
	if trace.IsEnabled() {
		skip(t, "a trace is being taken already")
	}
	work := func(name string) {
		sb, err := New(WithName(name))
		require.NoError(t, err)
		clone, err := sb.Clone()
		require.NoError(t, err)
		require.NoError(t, clone.Close())
		cmd := sb.Command("/bin/true", name+"-argument")
		require.NoError(t, cmd.Start(inTime(t)))
		_, err = cmd.Wait()
		require.NoError(t, err)
		_, err = sb.Run(inTime(t), "true")
		require.NoError(t, err)
		_, err = sb.Run(inTime(t), "/no/such/"+name)
		require.Error(t, err)
		require.NoError(t, sb.Close())
		p, err := NewPool(1)
		require.NoError(t, err)
		sb, err = p.Get(inTime(t))
		require.NoError(t, err)
		require.NoError(t, sb.Restart(inTime(t)))
		require.NoError(t, sb.Close())
		require.NoError(t, p.Close())
	}
	var seen bytes.Buffer
	require.NoError(t, trace.Start(&seen))
	work("traced")
	trace.Stop()
	// Strings are in the trace as they are.
	for _, s := range []string{
		"sandbox.New", "sandbox.Clone", "sandbox.Close", "sandbox.Restart", "sandbox.Pool.Get", "sandbox.Cmd", "sandbox.Start", "sandbox.Wait", "sandbox.Run",
		"/bin/true", "/no/such/traced", "create ", "launch ", "accounts ",
	} {
		assert.Contains(t, seen.String(), s)
	}
	work("untraced") // what was begun under a trace does not need one to go on
	cmd := newBox(t).Command("sleep", "0.01")
	require.NoError(t, trace.Start(io.Discard))
	require.NoError(t, cmd.Start(inTime(t)))
	trace.Stop()
	_, err := cmd.Wait()
	require.NoError(t, err)
}

// Goroutines that stay for a sandbox say for which, and keep the labels of the caller.
func TestLabels(t *testing.T) {
	t.Parallel()
	sb := newBox(t, WithName("labelled"))
	r, w := io.Pipe()
	cmd := sb.Command("/bin/cat")
	cmd.Stdin, cmd.Stdout = r, new(bytes.Buffer)
	pprof.Do(inTime(t), pprof.Labels("request", "seventeen"), func(ctx context.Context) { require.NoError(t, cmd.Start(ctx)) })
	profile := func() string {
		var b strings.Builder
		require.NoError(t, pprof.Lookup("goroutine").WriteTo(&b, 1))
		return b.String()
	}
	for _, does := range []string{"wait", "input", "output"} {
		want := `{"belljar":"` + does + `", "command":"/bin/cat", "request":"seventeen", "sandbox":"labelled"}`
		eventually(t, want, func() bool { return strings.Contains(profile(), want) })
	}
	require.NoError(t, w.Close())
	_, err := cmd.Wait()
	require.NoError(t, err)
	require.NoError(t, sb.Close())
	eventually(t, "nobody there any more", func() bool { return !strings.Contains(profile(), "labelled") })
}
