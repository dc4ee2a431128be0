package sandbox

import (
	"syscall"
	"time"

	"github.com/belljar-go/belljar/seccomp"
)

// exitFacts is how a command ended, as the zygote saw it.
type exitFacts struct {
	exited             bool
	code               int
	signal             syscall.Signal
	wall               time.Duration
	user               time.Duration // of the first process and the children it waited for
	system             time.Duration
	maxRSS             int64 // bytes, of the largest single process
	counted            bool  // stats are of a cgroup
	stats              Stats
	peakAnon, peakFile int64 // bytes, as far as sampled
	cpuHit             bool
	wallHit            bool
	killed             bool // by request of this process

	stages stageTimes // those that the zygote knows of

	denied     *seccomp.Call // what the filter kills for, if there was such a call
	handlerErr error         // what went wrong in answering for the filter
}

// cpu is the CPU time of the whole command, where only one process' is known, of that.
func (x *exitFacts) cpu() time.Duration {
	if x.counted {
		return x.stats.CPU.Total
	}
	return x.user + x.system
}

func (x *exitFacts) usage() Usage {
	if !x.counted {
		return Usage{CPU: CPU{Total: x.user + x.system, User: x.user, System: x.system}, Wall: x.wall, PeakMemory: x.maxRSS}
	}
	m := x.stats.Memory
	return Usage{
		CPU: x.stats.CPU, Wall: x.wall, PeakMemory: m.Peak, PeakAnon: x.peakAnon, PeakFile: x.peakFile,
		PeakPids: x.stats.Pids.Peak, IO: x.stats.IO, OOMKills: m.OOMKills, PidsHits: x.stats.Pids.LimitHits,
	}
}
