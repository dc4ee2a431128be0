package sandbox

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the commands are billed adds up to what the sandbox used, though their groups are gone.
func TestUsageAddsUp(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("32m"), WithPids(40)))
	before, err := sb.Stats()
	require.NoError(t, err)
	var cpu time.Duration
	var kills uint64
	spin := "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"
	for _, script := range []string{spin, spin + " & " + spin + "; wait", hog(8), "exec " + hog(80), "exit 3"} {
		_, res := try(t, sb, script)
		cpu += res.Usage.CPU.Total
		kills += res.Usage.OOMKills
		assert.GreaterOrEqual(t, res.Usage.CPU.Total, res.Usage.CPU.User)
	}
	after, err := sb.Stats()
	require.NoError(t, err)
	used := after.CPU.Total - before.CPU.Total
	assert.Positive(t, kills)
	assert.Equal(t, kills, after.Memory.OOMKills-before.Memory.OOMKills)
	assert.Greater(t, cpu, 20*time.Millisecond, "control")
	// The last moments of a process that has been waited for are counted after its last look.
	assert.InDelta(t, used.Seconds(), cpu.Seconds(), 0.01)
	assert.LessOrEqual(t, cpu, used, "nothing is billed twice")
}
