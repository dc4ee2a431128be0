package sandbox

import (
	"fmt"
	"time"
)

// Limits bound one command. A zero field stands for the sandbox's own limit; another value
// can only make it tighter, since the command stays inside the sandbox. Negative values
// are refused.
type Limits struct {
	CPUTime  time.Duration // of all the command's processes together, from the kernel's accounts
	WallTime time.Duration // from the launch on, by the monotonic clock
	Memory   int64         // bytes
	Output   int64         // bytes of standard output and standard error together
	Pids     int           // processes and threads at once
}

const (
	// minMemory is the least memory with which a program can be loaded at all. A tighter
	// limit would end every command before its first instruction, by an OOM kill that
	// tells nothing.
	minMemory = 512 << 10

	// minTime catches numbers that were meant as seconds: WithWallTime(5) is five
	// nanoseconds.
	minTime = time.Millisecond

	// maxTime keeps deadlines from overflowing the clock they are added to.
	maxTime = 100 * 365 * 24 * time.Hour

	// maxPids is PID_MAX_LIMIT, beyond which the kernel refuses a pids.max as EINVAL.
	maxPids = 1 << 22
)

// validate reports the first field that makes no sense, as an *Error that is ErrInvalid.
func (l Limits) validate() error {
	for _, c := range []struct {
		field string
		value any
		why   string
	}{
		{"CPUTime", l.CPUTime, unlessZero(l.CPUTime, timeFault)},
		{"WallTime", l.WallTime, unlessZero(l.WallTime, timeFault)},
		{"Memory", l.Memory, unlessZero(l.Memory, memoryFault)},
		{"Output", l.Output, unlessZero(l.Output, outputFault)},
		{"Pids", l.Pids, unlessZero(l.Pids, pidsFault)},
	} {
		if c.why != "" {
			return invalid("Limits."+c.field, fmt.Sprint(c.value), c.why)
		}
	}
	return nil
}

// within returns l with the sandbox's own limits in place of its zeros, and no looser than
// them.
func (l Limits) within(own Limits) Limits {
	return Limits{
		CPUTime:  tighter(l.CPUTime, own.CPUTime),
		WallTime: tighter(l.WallTime, own.WallTime),
		Memory:   tighter(l.Memory, own.Memory),
		Output:   tighter(l.Output, own.Output),
		Pids:     tighter(l.Pids, own.Pids),
	}
}

// tighter returns the smaller of two limits of which 0 and below stand for none.
func tighter[T ~int | ~int64](a, b T) T {
	switch {
	case a <= 0:
		return max(b, 0)
	case b <= 0:
		return a
	}
	return min(a, b)
}

func unlessZero[T comparable](v T, fault func(T) string) string {
	var zero T
	if v == zero {
		return ""
	}
	return fault(v)
}

func timeFault(d time.Duration) string {
	switch {
	case d <= 0:
		return "is not positive"
	case d < minTime:
		return "is less than a millisecond: a bare number counts nanoseconds"
	case d > maxTime:
		return "is more than 100 years: leave it out for no limit"
	}
	return ""
}

func memoryFault(n int64) string {
	switch {
	case n <= 0:
		return "is not positive"
	case n < minMemory:
		return fmt.Sprintf("is less than the %s that loading any program takes", FormatSize(minMemory))
	}
	return ""
}

func outputFault(n int64) string {
	if n <= 0 {
		return "is not positive"
	}
	return ""
}

func pidsFault(n int) string {
	switch {
	case n <= 0:
		return "is not positive"
	case n > maxPids:
		return fmt.Sprintf("is more than the kernel's %d", maxPids)
	}
	return ""
}
