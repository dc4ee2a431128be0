package sandbox

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The zygote of a program that is put before others passes nothing of that on to jobs; what puts it after others it does.
func TestJobsAreNotPutBeforeOthers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first precedence
		step  string
	}{
		{precedence{}, ""},
		{precedence{policy: unix.SCHED_IDLE}, ""},
		{precedence{policy: unix.SCHED_BATCH, nice: 5}, ""},
		{precedence{nice: -5}, "sched_setscheduler(0, 1073741824, {priority}) ?"},
		{precedence{policy: unix.SCHED_FIFO, priority: 10}, "sched_setscheduler(0, 1073741825, {priority}) ?"},
		{precedence{policy: unix.SCHED_RR, priority: 10}, "sched_setscheduler(0, 1073741826, {priority}) ?"},
	} {
		plan := compileZygote(c.first).String()
		assert.Equal(t, c.step != "", strings.Contains(plan, "sched_"), "%+v", c.first)
		assert.Contains(t, plan, c.step)
	}
	own := ownPrecedence()
	nice, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	require.NoError(t, err)
	assert.Equal(t, 20-nice, own.nice, "as getpriority(2) has it")
}
