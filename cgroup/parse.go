package cgroup

import (
	"bytes"
	"strings"
	"time"
)

// The parsers take the kernel's text and never fail on what they do not know:
// later kernels add lines. Figures that do not fit are left out.

// parseUint reads one decimal number, as in pids.current. "max" is not a
// number.
func parseUint(b []byte) (uint64, bool) {
	b = bytes.TrimSpace(b)
	if len(b) == 0 {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		d := uint64(c - '0')
		if c < '0' || c > '9' || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}

// eachPair calls f for every line "key value" of flat keyed files such as
// memory.stat. It allocates nothing.
func eachPair(b []byte, f func(key []byte, v uint64)) {
	for len(b) > 0 {
		line := b
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			line, b = b[:i], b[i+1:]
		} else {
			b = nil
		}
		i := bytes.IndexByte(line, ' ')
		if i <= 0 {
			continue
		}
		if v, ok := parseUint(line[i+1:]); ok {
			f(line[:i], v)
		}
	}
}

// bytesOf fits an unsigned count into an int64. v1 says 2^63-4096 for
// unlimited, which fits too.
func bytesOf(v uint64) int64 {
	if v > 1<<63-1 {
		return 1<<63 - 1
	}
	return int64(v)
}

// nanos converts v units of the given length, saturating.
func nanos(v uint64, unit time.Duration) time.Duration {
	if v > uint64(1<<63-1)/uint64(unit) {
		return 1<<63 - 1
	}
	return time.Duration(v) * unit
}

// parseCPUStatV2 reads cpu.stat.
func parseCPUStatV2(b []byte, c *CPU) {
	eachPair(b, func(k []byte, v uint64) {
		switch string(k) {
		case "usage_usec":
			c.Total = nanos(v, time.Microsecond)
		case "user_usec":
			c.User = nanos(v, time.Microsecond)
		case "system_usec":
			c.System = nanos(v, time.Microsecond)
		case "throttled_usec":
			c.Throttled = nanos(v, time.Microsecond)
		}
	})
	// Each is rounded down to microseconds by itself.
	if d := c.Total - c.User - c.System; d > 0 && d <= 2*time.Microsecond {
		c.System += d
	}
}

// splitCPU divides total by the samples of cpuacct.stat, which are in ticks
// of 10 ms and too coarse to be reported themselves. Without samples all of
// it is User, which is what the kernel does in cputime_adjust.
func splitCPU(total time.Duration, stat []byte) CPU {
	var user, system uint64
	eachPair(stat, func(k []byte, v uint64) {
		switch string(k) {
		case "user":
			user = v
		case "system":
			system = v
		}
	})
	c := CPU{Total: total, User: total}
	if user+system > 0 {
		c.User = time.Duration(float64(total) * (float64(user) / (float64(user) + float64(system))))
		c.User = min(max(c.User, 0), total)
	}
	c.System = total - c.User
	return c
}

// parseMemoryStatV2 reads memory.stat.
func parseMemoryStatV2(b []byte, m *Memory) {
	eachPair(b, func(k []byte, v uint64) {
		switch string(k) {
		case "anon":
			m.Anon = bytesOf(v)
		case "file":
			m.File = bytesOf(v)
		case "kernel": // since 5.18
			m.Kernel = bytesOf(v)
		case "shmem":
			m.Shmem = bytesOf(v)
		}
	})
}

// parseMemoryStatV1 reads memory.stat. Only the total_ lines include the
// groups below.
func parseMemoryStatV1(b []byte, m *Memory) {
	eachPair(b, func(k []byte, v uint64) {
		switch string(k) {
		case "total_rss":
			m.Anon = bytesOf(v)
		case "total_cache":
			m.File = bytesOf(v)
		case "total_shmem":
			m.Shmem = bytesOf(v)
		case "total_swap":
			m.Swap = bytesOf(v)
		}
	})
}

// parseMemoryEvents reads memory.events.
func parseMemoryEvents(b []byte, m *Memory) {
	eachPair(b, func(k []byte, v uint64) {
		switch string(k) {
		case "high":
			m.HighHits = v
		case "max":
			m.LimitHits = v
		case "oom":
			m.OOMs = v
		case "oom_kill":
			m.OOMKills = v
		}
	})
}

// parseKey returns the value of one key of a flat keyed file.
func parseKey(b []byte, key string) (uint64, bool) {
	var v uint64
	var ok bool
	eachPair(b, func(k []byte, n uint64) {
		if string(k) == key {
			v, ok = n, true
		}
	})
	return v, ok
}

// parsePids reads cgroup.procs: one pid a line, in the reader's pid namespace;
// 0 stands for a process which has no pid there and is left out but counted.
func parsePids(b []byte) (pids []int, foreign int) {
	for _, f := range bytes.Fields(b) {
		switch v, ok := parseUint(f); {
		case !ok || v > 1<<31-1:
		case v == 0:
			foreign++
		default:
			pids = append(pids, int(v))
		}
	}
	return pids, foreign
}

// parseStartTime returns field 22 of /proc/PID/stat.
func parseStartTime(b []byte) (uint64, bool) { return parseStat(b, 22) }

// parseParent returns field 4 of /proc/PID/stat. It is 0 if the parent is in
// another pid namespace.
func parseParent(b []byte) (int, bool) {
	v, ok := parseStat(b, 4)
	return int(v), ok && v <= 1<<31-1
}

// parseStat returns a numeric field of /proc/PID/stat, counted as proc(5) does.
// The name in field 2 may hold blanks and parentheses, so counting begins after
// the last one.
func parseStat(b []byte, field int) (uint64, bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return 0, false
	}
	f := bytes.Fields(b[i+1:])
	if len(f) < field-2 {
		return 0, false
	}
	return parseUint(f[field-3])
}

// parseTgid returns the process of a thread from /proc/TID/status, where the
// kernel escapes line ends in the name before it.
func parseTgid(b []byte) (int, bool) {
	_, b, ok := bytes.Cut(b, []byte("\nTgid:"))
	b, _, whole := bytes.Cut(b, []byte("\n"))
	v, number := parseUint(bytes.TrimSpace(b))
	return int(v), ok && whole && number && v > 0 && v <= 1<<31-1
}

const ownerPrefix = "belljar-"

// parseOwner undoes OwnerName.
func parseOwner(name string) (pid int, start uint64, ok bool) {
	rest, ok := strings.CutPrefix(name, ownerPrefix)
	a, b, ok2 := strings.Cut(rest, "-")
	b, number, more := strings.Cut(b, "-")
	n, ok3 := parseUint([]byte(a))
	start, ok4 := parseUint([]byte(b))
	_, ok5 := parseUint([]byte(number))
	if !ok || !ok2 || !ok3 || !ok4 || more && !ok5 || n == 0 || n > maxPids {
		return 0, 0, false
	}
	return int(n), start, true
}
