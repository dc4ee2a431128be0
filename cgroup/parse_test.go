package cgroup

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

const (
	cpuStatV2 = `usage_usec 1500000
user_usec 1000000
system_usec 499999
core_sched.force_idle_usec 0
nr_periods 12
nr_throttled 3
throttled_usec 250000
nr_bursts 0
burst_usec 0
`
	memoryStatV2 = `anon 1048576
file 2097152
kernel 65536
kernel_stack 16384
shmem 4096
anon_thp 0
`
	memoryStatV1 = `cache 1
rss 2
shmem 3
hierarchical_memory_limit 9223372036854771712
total_cache 2097152
total_rss 1048576
total_shmem 4096
total_swap 8192
`
	memoryEvents = "low 0\nhigh 4\nmax 17\noom 2\noom_kill 3\noom_group_kill 1\n"
	ioStat       = `8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=512 dios=3
7:0 
253:1 rbytes=1 cost.usage=3
`
	blkioBytes = `8:0 Read 4096
8:0 Write 8192
8:0 Sync 12288
8:0 Discard 512
8:0 Total 12288
Total 12288
`
	pressure = `some avg10=1.50 avg60=0.25 avg300=0.00 total=123456
full avg10=0.50 avg60=0.00 avg300=100.00 total=1000
`
)

func TestParseAccounts(t *testing.T) {
	var c CPU
	parseCPUStatV2([]byte(cpuStatV2), &c)
	assert.Equal(t, CPU{1500 * time.Millisecond, time.Second, 500 * time.Millisecond, 250 * time.Millisecond}, c)

	var m Memory
	parseMemoryStatV2([]byte(memoryStatV2), &m)
	parseMemoryEvents([]byte(memoryEvents), &m)
	assert.Equal(t, Memory{Anon: 1 << 20, File: 2 << 20, Kernel: 65536, Shmem: 4096, HighHits: 4, LimitHits: 17, OOMs: 2, OOMKills: 3}, m)

	m = Memory{}
	parseMemoryStatV1([]byte(memoryStatV1), &m)
	assert.Equal(t, Memory{Anon: 1 << 20, File: 2 << 20, Shmem: 4096, Swap: 8192}, m)

	assert.Equal(t, []DeviceIO{
		{Device: "8:0", ReadBytes: 4096, WriteBytes: 8192, DiscardBytes: 512, Reads: 1, Writes: 2, Discards: 3},
		{Device: "253:1", ReadBytes: 1},
	}, parseIOStat([]byte(ioStat)))
	all := parseBlkio([]byte(blkioBytes), nil, false)
	all = parseBlkio([]byte("8:0 Read 1\n8:0 Write 2\n8:0 Discard 3\n"), all, true)
	assert.Equal(t, []DeviceIO{{Device: "8:0", ReadBytes: 4096, WriteBytes: 8192, DiscardBytes: 512, Reads: 1, Writes: 2, Discards: 3}}, all)

	assert.Equal(t, Stall{
		Some: StallTime{1.5, 0.25, 0, 123456 * time.Microsecond},
		Full: StallTime{0.5, 0, 100, time.Millisecond},
	}, parsePressure([]byte(pressure)))
}

func TestAddIO(t *testing.T) {
	a := []DeviceIO{{Device: "8:0", ReadBytes: 1, Writes: 2}, {Device: "8:16"}}
	b := []DeviceIO{{Device: "8:32", Discards: 1}, {Device: "8:0", ReadBytes: 3, DiscardBytes: 4, Reads: 5}}
	assert.Equal(t, []DeviceIO{{Device: "8:0", ReadBytes: 4, Writes: 2, DiscardBytes: 4, Reads: 5}, {Device: "8:16"}, {Device: "8:32", Discards: 1}}, addIO(a, b))
	assert.EqualValues(t, 1, a[0].ReadBytes, "the terms are as before")
	assert.Len(t, used(addIO(a, b)), 2)
}

func TestSplitCPU(t *testing.T) {
	for _, c := range []struct {
		stat         string
		user, system time.Duration
	}{
		{"user 1\nsystem 3\n", 250, 750},
		{"user 0\nsystem 0\n", 1000, 0},
		{"user 0\nsystem 9\n", 0, 1000},
		{"user 18446744073709551615\nsystem 0\n", 1000, 0},
		{"", 1000, 0},
	} {
		got := splitCPU(1000, []byte(c.stat))
		assert.Equal(t, CPU{Total: 1000, User: c.user, System: c.system}, got, c.stat)
	}
}

func TestParseNumbers(t *testing.T) {
	for s, want := range map[string]uint64{"0\n": 0, " 42 ": 42, "18446744073709551615": math.MaxUint64} {
		v, ok := parseUint([]byte(s))
		assert.True(t, ok, s)
		assert.Equal(t, want, v)
	}
	for _, s := range []string{"", "max\n", "-1", "+1", "1 2", "18446744073709551616", "99999999999999999999999"} {
		_, ok := parseUint([]byte(s))
		assert.False(t, ok, s)
	}
	assert.EqualValues(t, math.MaxInt64, bytesOf(math.MaxUint64))
	assert.EqualValues(t, math.MaxInt64, nanos(math.MaxUint64, time.Microsecond))
	pids, foreign := parsePids([]byte("1\n0\n22\nx\n0\n99999999999\n"))
	assert.Equal(t, []int{1, 22}, pids)
	assert.Equal(t, 2, foreign)
}

func TestParseStartTime(t *testing.T) {
	stat := "123 (a) b) (x) S 1 123 123 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1000 2 18446744073709551615\n"
	v, ok := parseStartTime([]byte(stat))
	assert.True(t, ok)
	assert.EqualValues(t, 987654, v)
	parent, ok := parseParent([]byte(stat))
	assert.True(t, ok)
	assert.Equal(t, 1, parent)
	for _, s := range []string{"", "1 (a", "1 (a) S 1 2 3"} {
		_, ok := parseStartTime([]byte(s))
		assert.False(t, ok, s)
	}
}

func TestParseTgid(t *testing.T) {
	v, ok := parseTgid([]byte("Name:\tx\\nTgid:\t7\nUmask:\t0022\nTgid:\t42\nNgid:\t0\n"))
	assert.True(t, ok)
	assert.Equal(t, 42, v)
	for _, s := range []string{"", "\nTgid:", "\nTgid:\t1", "\nTgid:\t0\n", "\nTgid:\tx\n", "\nTgid:\t99999999999\n"} {
		_, ok := parseTgid([]byte(s))
		assert.False(t, ok, s)
	}
}

// No text may crash a parser or yield a negative figure.
func FuzzParseAccounts(f *testing.F) {
	for _, s := range []string{cpuStatV2, memoryStatV2, memoryStatV1, memoryEvents, ioStat, blkioBytes, pressure, "1\n0\n22\n", "max\n", "user 3\nsystem 4\n"} {
		f.Add([]byte(s))
	}
	for _, files := range captures(f) {
		for _, text := range files {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var c CPU
		parseCPUStatV2(b, &c)
		s := splitCPU(12345, b)
		if s.User < 0 || s.System < 0 || s.User+s.System != s.Total {
			t.Fatalf("%+v", s)
		}
		var m Memory
		parseMemoryStatV2(b, &m)
		parseMemoryStatV1(b, &m)
		parseMemoryEvents(b, &m)
		for _, v := range []int64{m.Anon, m.File, m.Kernel, m.Shmem, m.Swap, int64(c.Total), int64(c.User), int64(c.Throttled)} {
			if v < 0 {
				t.Fatalf("negative: %+v %+v", m, c)
			}
		}
		for _, d := range append(parseIOStat(b), parseBlkio(b, nil, false)...) {
			if d.ReadBytes < 0 || d.WriteBytes < 0 || d.DiscardBytes < 0 || d.Device == "" {
				t.Fatalf("%+v", d)
			}
		}
		p := parsePressure(b)
		if !(p.Some.Avg10 >= 0 && p.Full.Total >= 0) {
			t.Fatalf("%+v", p)
		}
		pids, _ := parsePids(b)
		for _, p := range pids {
			if p <= 0 {
				t.Fatal("pid", p)
			}
		}
		parseStartTime(b)
		parseTgid(b)
		parseOwner(string(b))
		parseV2Controllers(string(b))
		parseV1Controllers(string(b))
	})
}
