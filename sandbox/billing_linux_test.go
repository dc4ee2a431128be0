package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the commands are billed adds up to what the sandbox used, though their groups are gone.
func TestUsageAddsUp(t *testing.T) {
	t.Parallel()
	sb := grouped(t, standing(t, WithMemory("32m"), WithPids(40)))
	rounds := 50000
	if testing.Short() {
		rounds = 10000
	}
	spin := fmt.Sprintf("i=0; while [ $i -lt %d ]; do i=$((i+1)); done", rounds)
	// The last moments of a process that has been waited for are counted after its last look, and what it costs to have the next one's things
	// ready is nobody's. On a machine that stops now and then that may be much once, but not always: what was not billed at all would be a
	// fifth or more.
	eventually(t, "the bills add up", func() bool {
		before, err := sb.Stats()
		require.NoError(t, err)
		var cpu time.Duration
		var kills uint64
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
		assert.Greater(t, cpu, 10*time.Millisecond, "control")
		require.LessOrEqual(t, cpu, used, "nothing is billed twice")
		return used-cpu < 10*time.Millisecond+used/20
	})
}

// So does what they read from disks: on v2 as it is, on v1 if it was asked for.
func TestDevicesAddUp(t *testing.T) {
	t.Parallel()
	if groupless(t) {
		skip(t, "needs cgroup delegation")
	}
	sb, err := New(WithIO(), WithBind(diskFile(t), "/data", ReadOnly))
	if errors.Is(err, ErrUnsupported) {
		t.Skip("needs the io controller, which this user has not been handed")
	}
	require.NoError(t, err)
	defer sb.Close()
	sum := map[string]int64{}
	var first int64
	for i := range 3 {
		out, res := try(t, sb, "dd if=/data of=/dev/null bs=1M iflag=direct 2>/dev/null; true")
		require.Equal(t, OK, res.Verdict, out)
		for _, d := range res.Usage.IO {
			sum[d.Device] += d.ReadBytes
			first += d.ReadBytes
		}
		if i == 0 && first == 0 {
			t.Skip("needs a file system on a disk that reads past its cache")
		}
	}
	s, err := sb.Stats()
	require.NoError(t, err)
	all := map[string]int64{}
	for _, d := range s.IO {
		if d.ReadBytes > 0 {
			all[d.Device] = d.ReadBytes
		}
	}
	for dev, n := range sum {
		if n == 0 {
			delete(sum, dev)
		}
	}
	// Pages of programs that had to be read again may be on the sandbox's account alone, when that was for a process that nobody used. What
	// was not billed, or twice, would be a third.
	for dev := range all {
		assert.LessOrEqual(t, sum[dev], all[dev], dev)
		assert.Less(t, all[dev]-sum[dev], first/6, dev)
	}
	for dev := range sum {
		assert.Contains(t, all, dev)
	}
}

// diskFile is a file of two megabytes, of which nothing is only in memory.
func diskFile(t *testing.T) string {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(t.TempDir(), "data"), os.O_CREATE|os.O_RDWR, 0o644)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, os.Chmod(filepath.Dir(f.Name()), 0o755))
	_, err = f.Write(bytes.Repeat([]byte("x"), 2<<20))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	return f.Name()
}
