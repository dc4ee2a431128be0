package sandbox

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestResultErr(t *testing.T) {
	assert.NoError(t, (&Result{Verdict: OK}).Err())
	for _, c := range []struct {
		result Result
		want   string
	}{
		{Result{}, "verdict 0"},
		{Result{Verdict: NonZeroExit, ExitCode: 2}, "exit status 2"},
		{Result{Verdict: Signaled, ExitCode: -1, Signal: syscall.SIGKILL}, "signal 9 (killed)"},
		{Result{Verdict: MemoryExceeded, ExitCode: -1, Signal: syscall.SIGKILL}, "memory exceeded"},
		{Result{Verdict: SyscallDenied}, "system call denied"},
		{Result{Verdict: SyscallDenied, Syscall: "mount"}, "system call denied: mount"},
		{Result{Verdict: Canceled, cause: context.DeadlineExceeded}, "canceled"},
	} {
		err := c.result.Err()
		require.EqualError(t, err, c.want)
		var e *ExitError
		require.ErrorAs(t, err, &e)
		assert.Equal(t, &c.result, e.Result)
		assert.Equal(t, c.result.cause, errors.Unwrap(err))
	}
	assert.ErrorIs(t, (&Result{Verdict: Canceled, cause: context.Canceled}).Err(), context.Canceled)
}

func TestReportString(t *testing.T) {
	r := Report{
		Enforced: []string{"memory 50m"},
		GivenUp:  []GivenUp{{"WithCPUs", "no controller\x1b[2J\nforged: line"}},
		Notes:    []string{"a note"},
		Stages:   []Stage{{Name: "cgroup", Duration: 1500 * time.Microsecond}, {Name: "launch", Duration: time.Second, Ahead: true}},
	}
	assert.Equal(t, "enforced: memory 50m\ngiven up: WithCPUs: no controller\\x1b[2J\\nforged: line\nnote: a note\nstage: cgroup 1.5ms\nstage: launch 1s, ahead of time\n", r.String())
	assert.Empty(t, Report{}.String())
}
