package sandbox

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Between its clone and its exec a command is in the job's cgroup and shares the zygote's memory. The OOM killer, called by other commands of the
// sandbox, would take it for the largest process there, and kill the zygote with it.
func TestZygoteOutlivesOOMKills(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("16m")))
	z, err := currentZygote()
	require.NoError(t, err)
	var kills atomic.Int64
	var wg sync.WaitGroup
	run := func(end time.Time, name string, args ...string) {
		defer wg.Done()
		for time.Now().Before(end) || kills.Load() == 0 && time.Now().Before(end.Add(patience)) {
			res, err := sb.Run(inTime(t), name, args...)
			if !assert.NoError(t, err) {
				return
			}
			if res.Verdict == MemoryExceeded {
				kills.Add(1)
			}
		}
	}
	end := time.Now().Add(2 * time.Second)
	if testing.Short() {
		end = time.Now().Add(time.Second)
	}
	for range 3 {
		wg.Add(3)
		go run(end, "/usr/bin/perl", "-e", `$x .= "x" x 100000 while 1`)
		go run(end, "/bin/true")
		go run(end, "/bin/true")
	}
	wg.Wait()
	assert.Positive(t, kills.Load(), "control")
	assert.False(t, z.isDead())
	assert.Equal(t, "alive", sh(t, sb, "echo alive"))
}
