package sandbox

import (
	"encoding/json"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// exit and died are how programs end by themselves.
func exit(code int) verdictFacts              { return verdictFacts{exited: true, code: code} }
func died(signal syscall.Signal) verdictFacts { return verdictFacts{signal: signal} }

// and returns f changed.
func (f verdictFacts) and(changes ...func(*verdictFacts)) verdictFacts {
	for _, change := range changes {
		change(&f)
	}
	return f
}

func TestDecideVerdict(t *testing.T) {
	const (
		kill = syscall.SIGKILL
		segv = syscall.SIGSEGV
		xcpu = syscall.Signal(24)
	)
	var (
		oom      = func(f *verdictFacts) { f.oomKills = 1 }
		hits     = func(f *verdictFacts) { f.pidsHits = 3 }
		wall     = func(f *verdictFacts) { f.wall = true }
		output   = func(f *verdictFacts) { f.output = true }
		canceled = func(f *verdictFacts) { f.canceled = true }
		killed   = func(f *verdictFacts) { f.killed = true }
		denied   = func(f *verdictFacts) { f.denied = true }
		disk     = func(f *verdictFacts) { f.disk = true }
		cpu      = func(used, limit time.Duration) func(*verdictFacts) {
			return func(f *verdictFacts) { f.cpuUsed, f.cpuLimit = used, limit }
		}
		spun = cpu(1010*time.Millisecond, time.Second)
	)
	for _, c := range []struct {
		name  string
		facts verdictFacts
		want  Verdict
	}{
		{"exit 0", exit(0), OK},
		{"exit 1", exit(1), NonZeroExit},
		{"exit 255", exit(255), NonZeroExit},
		{"segmentation fault", died(segv), Signaled},
		{"killed by something inside", died(kill), Signaled},

		// Exit statuses and signals that look like a verdict and are none.
		{"exit 137, as shells have it for a kill", exit(137), NonZeroExit},
		{"exit 159, as shells have it for SIGSYS", exit(159), NonZeroExit},
		{"exit 124, as timeout(1) has it", exit(124), NonZeroExit},
		{"SIGXCPU without a CPU limit", died(xcpu), Signaled},
		{"SIGXCPU within the CPU limit", died(xcpu).and(cpu(time.Millisecond, time.Second)), Signaled},
		{"SIGSYS it sent itself", died(sigSys), Signaled},

		// Memory.
		{"OOM kill of the program", died(kill).and(oom), MemoryExceeded},
		{"OOM kill of a child, passed on as exit 137", exit(137).and(oom), MemoryExceeded},
		{"OOM kill of a child, a compiler's exit 1", exit(1).and(oom), MemoryExceeded},
		{"OOM kill of a child, survived", exit(0).and(oom), OK},
		{"OOM kill of a child, then abort", died(syscall.SIGABRT).and(oom), MemoryExceeded},

		// Processes.
		{"fork refused, exit 254", exit(254).and(hits), PidsExceeded},
		{"fork refused, abort", died(syscall.SIGABRT).and(hits), PidsExceeded},
		{"fork refused, survived", exit(0).and(hits), OK},
		{"forks refused and OOM kill", died(kill).and(hits, oom), MemoryExceeded},

		// Disk.
		{"disk full, exit 1", exit(1).and(disk), DiskExceeded},
		{"disk full, survived", exit(0).and(disk), OK},

		// CPU time.
		{"spun", died(kill).and(spun), CPUTimeExceeded},
		{"spun, ended well before the kill", exit(0).and(spun), CPUTimeExceeded},
		{"used all of it and no more", exit(0).and(cpu(time.Second, time.Second)), OK},
		{"no limit", exit(0).and(cpu(time.Hour, 0)), OK},
		{"failed within the limit", exit(3).and(cpu(time.Millisecond, time.Second)), NonZeroExit},
		{"spun until the deadline", died(kill).and(spun, wall), CPUTimeExceeded},
		{"spun with memory killed on the way", died(kill).and(spun, oom), CPUTimeExceeded},

		// Wall time.
		{"slept", died(kill).and(wall), WallTimeExceeded},
		{"slept, within CPU limit", died(kill).and(wall, cpu(time.Millisecond, time.Second)), WallTimeExceeded},
		{"ended well as the deadline passed", exit(0).and(wall), WallTimeExceeded},
		{"fork bomb until the deadline", died(kill).and(wall, hits), WallTimeExceeded},

		// Output.
		{"flood", died(kill).and(output), OutputExceeded},
		{"wrote too much, ended well", exit(0).and(output), OutputExceeded},
		{"SIGPIPE after the cut", died(syscall.SIGPIPE).and(output), OutputExceeded},
		{"flood until the deadline", died(kill).and(output, wall, spun), OutputExceeded},

		// The filter.
		{"denied", died(kill).and(denied), SyscallDenied},
		{"denied in a child, which the program passed on", exit(159).and(denied), SyscallDenied},
		{"denied in a child as the program ended", exit(0).and(denied), SyscallDenied},
		{"denied after a flood", died(sigSys).and(denied, output), SyscallDenied},

		// The caller.
		{"canceled", died(kill).and(canceled), Canceled},
		{"canceled, ended well", exit(0).and(canceled), Canceled},
		{"canceled after an OOM kill survived", died(kill).and(canceled, oom), Canceled},
		{"canceled while over limits", died(kill).and(canceled, wall, spun, output), Canceled},
		{"killed", died(kill).and(killed), Killed},
		{"killed and then canceled", died(kill).and(killed, canceled), Killed},
		{"killed while over limits", died(kill).and(killed, wall, spun, output, oom), Killed},
	} {
		t.Run(c.name, func(t *testing.T) {
			assert.Equal(t, c.want, decideVerdict(c.facts), "%+v", c.facts)
		})
	}
}

// Over all combinations: OK needs exit 0 and nobody's interference, and every verdict has
// its evidence.
func TestDecideVerdictNeedsEvidence(t *testing.T) {
	for bits := range 1 << 9 {
		bit := func(n int) bool { return bits>>n&1 == 1 }
		f := verdictFacts{canceled: bit(0), killed: bit(1), wall: bit(2), output: bit(3), denied: bit(4), disk: bit(5)}
		f.cpuLimit = time.Second
		if bit(6) {
			f.cpuUsed = 2 * time.Second
		}
		if bit(7) {
			f.oomKills = 1
		}
		if bit(8) {
			f.pidsHits = 1
		}
		for _, end := range []verdictFacts{exit(0), exit(1), died(syscall.SIGKILL), died(sigSys)} {
			f.exited, f.code, f.signal = end.exited, end.code, end.signal
			v := decideVerdict(f)
			evidence := map[Verdict]bool{
				OK:          f.exited && f.code == 0 && !f.denied && !f.canceled && !f.killed && !f.wall && !f.output && f.cpuUsed == 0,
				NonZeroExit: f.exited && f.code != 0, Signaled: !f.exited, CPUTimeExceeded: f.cpuUsed > f.cpuLimit, WallTimeExceeded: f.wall,
				MemoryExceeded: f.oomKills > 0, OutputExceeded: f.output, PidsExceeded: f.pidsHits > 0, DiskExceeded: f.disk,
				SyscallDenied: f.denied, Canceled: f.canceled, Killed: f.killed,
			}
			require.True(t, evidence[v], "%s of %+v", v, f)
		}
	}
}

func TestVerdictText(t *testing.T) {
	seen := map[string]bool{}
	for v := OK; v <= Killed; v++ {
		require.NotEmpty(t, v.String())
		require.False(t, seen[v.String()], "two verdicts read %q", v)
		seen[v.String()] = true
		text, err := json.Marshal(v)
		require.NoError(t, err)
		var back Verdict
		require.NoError(t, json.Unmarshal(text, &back))
		assert.Equal(t, v, back)
	}
	assert.Equal(t, "verdict 0", Verdict(0).String())
	assert.Equal(t, "verdict 99", Verdict(99).String())
	var v Verdict
	assert.ErrorIs(t, v.UnmarshalText([]byte("")), ErrInvalid)
	assert.ErrorIs(t, v.UnmarshalText([]byte("fine")), ErrInvalid)
}

func TestState(t *testing.T) {
	for s, want := range map[State]string{Running: "running", Paused: "paused", Restarting: "restarting", Exited: "exited", 0: "state 0"} {
		assert.Equal(t, want, s.String())
	}
}

// TestVerdictOOMGroup: with a memory limit an OOM kill is the end of the whole command on every hierarchy, however its first process got away.
func TestVerdictOOMGroup(t *testing.T) {
	f := verdictFacts{exited: true, oomKills: 1, cpuLimit: 0}
	assert.Equal(t, OK, decideVerdict(f), "without a limit of its own")
	f.oomGroup = true
	assert.Equal(t, MemoryExceeded, decideVerdict(f))
	f.oomKills = 0
	assert.Equal(t, OK, decideVerdict(f))
	f.oomKills, f.wall = 1, true
	assert.Equal(t, WallTimeExceeded, decideVerdict(f))
}
