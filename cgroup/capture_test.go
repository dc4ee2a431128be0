package cgroup

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// captures are the texts of testdata/kernel, by kernel and file.
func captures(t testing.TB) map[string]map[string][]byte {
	t.Helper()
	all := map[string]map[string][]byte{}
	files, err := filepath.Glob("testdata/kernel/*/*")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		b, err := os.ReadFile(f)
		require.NoError(t, err)
		kernel := filepath.Base(filepath.Dir(f))
		if all[kernel] == nil {
			all[kernel] = map[string][]byte{}
		}
		all[kernel][filepath.Base(f)] = b
	}
	return all
}

// What kernels print, old and new, is understood.
func TestCaptures(t *testing.T) {
	all := captures(t)
	v2 := func(kernel string) (s Stats) {
		c := all[kernel]
		parseCPUStatV2(c["cpu.stat"], &s.CPU)
		parseMemoryStatV2(c["memory.stat"], &s.Memory)
		parseMemoryEvents(c["memory.events"], &s.Memory)
		s.Pids.LimitHits, _ = parseKey(c["pids.events"], "max")
		s.IO = used(parseIOStat(c["io.stat"]))
		s.Pressure.CPU, s.Pressure.Memory = parsePressure(c["cpu.pressure"]), parsePressure(c["memory.pressure"])
		return s
	}
	v1 := func(kernel string) (s Stats) {
		c := all[kernel]
		parseMemoryStatV1(c["memory.stat"], &s.Memory)
		s.Memory.OOMKills, _ = parseKey(c["memory.oom_control"], "oom_kill")
		s.CPU = splitCPU(time.Second, c["cpuacct.stat"])
		v, _ := parseKey(c["cpu.stat"], "throttled_time")
		s.CPU.Throttled = nanos(v, 1)
		s.IO = parseBlkio(c["blkio.throttle.io_service_bytes_recursive"], nil, false)
		s.IO = used(parseBlkio(c["blkio.throttle.io_serviced_recursive"], s.IO, true))
		return s
	}
	s := v2("5.15-v2")
	assert.Equal(t, CPU{2000003 * time.Microsecond, 1500001 * time.Microsecond, 500002 * time.Microsecond, 350 * time.Millisecond}, s.CPU)
	assert.Equal(t, Memory{Anon: 4096000, File: 8192000, Shmem: 4096, LimitHits: 12, OOMs: 1, OOMKills: 1}, s.Memory)
	assert.EqualValues(t, 7, s.Pids.LimitHits)
	assert.Equal(t, []DeviceIO{
		{Device: "8:16", ReadBytes: 1459200, WriteBytes: 314773504, Reads: 192, Writes: 353},
		{Device: "8:0", ReadBytes: 90430464, WriteBytes: 299008000, Reads: 8950, Writes: 1252, DiscardBytes: 50331648, Discards: 3021},
	}, s.IO)
	assert.Equal(t, Stall{Some: StallTime{0, 0.12, 1.05, 2345678 * time.Microsecond}}, s.Pressure.CPU)
	assert.Equal(t, 11.1, s.Pressure.Memory.Full.Avg10)

	s = v2("6.1-v2")
	assert.Positive(t, s.CPU.Total)
	assert.Equal(t, s.CPU.Total, s.CPU.User+s.CPU.System)
	assert.EqualValues(t, 2, s.Pids.LimitHits)
	assert.Equal(t, []DeviceIO{{Device: "7:0", ReadBytes: 262144, Reads: 4}}, s.IO)
	for _, f := range []string{"memory.peak", "memory.current", "pids.current"} {
		_, ok := parseUint(all["6.1-v2"][f])
		assert.True(t, ok, f)
	}
	set, err := parseSet(string(all["6.1-v2"]["cpuset.cpus.effective"]), maxCPU)
	require.NoError(t, err)
	assert.NotEmpty(t, set)
	assert.True(t, parseV2Controllers(string(all["6.1-v2"]["cgroup.controllers"])).Has(MemoryController|IOController|CPUSetController|HugetlbController))

	s = v1("5.15-v1")
	assert.Equal(t, Memory{Anon: 4055040, File: 1351680, Shmem: 270336, Swap: 8192, OOMKills: 2}, s.Memory)
	assert.Equal(t, CPU{time.Second, 800 * time.Millisecond, 200 * time.Millisecond, 120 * time.Millisecond}, s.CPU)
	assert.Equal(t, []DeviceIO{{Device: "8:0", ReadBytes: 4096, WriteBytes: 8192, Reads: 1, Writes: 2}}, s.IO)
	n, ok := parseUint(all["5.15-v1"]["memory.limit_in_bytes"])
	assert.True(t, ok, "no limit is a number on v1")
	assert.EqualValues(t, 1<<63-4096, n)

	s = v1("6.18-v1")
	assert.Positive(t, s.Memory.Anon)
	assert.NotEmpty(t, s.IO)
	n, _ = parseKey(all["6.18-v1"]["pids.events"], "max")
	assert.EqualValues(t, 1, n)
	_, ok = parseStartTime(all["6.18-v1"]["proc-pid-stat"])
	assert.True(t, ok)
	_, ok = parseTgid(all["6.18-v1"]["proc-pid-status"])
	assert.True(t, ok)
}

// A list that is read is written again the same, and nothing crashes.
func FuzzParseSet(f *testing.F) {
	for _, s := range []string{"", "0-3,8-11\n", "0", "1,0", "0-7:1/2", "4294967296", "-", "3-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		set, err := parseSet(s, maxCPU)
		if err != nil {
			return
		}
		again, err := parseSet(set.String(), maxCPU)
		if err != nil || again.String() != set.String() {
			t.Fatalf("%q became %q, and that %q: %v", s, set, again, err)
		}
		if both := set.and(set); both.String() != set.String() {
			t.Fatalf("%q and itself is %q", set, both)
		}
	})
}
