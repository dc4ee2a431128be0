package main

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/belljar-go/belljar/sandbox"
)

// printStats prints what the program and all it started have used, from the kernel's accounts.
func printStats(w io.Writer, r *sandbox.Result) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) {
		fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...))
	}
	u := r.Usage
	row("verdict", "%v", r.Verdict)
	if r.Signal != 0 {
		row("signal", "%d (%v)", int(r.Signal), r.Signal)
	} else {
		row("exit status", "%d", r.ExitCode)
	}
	row("time", "%v", short(u.Wall))
	row("CPU", "%v (user %v, system %v, throttled %v)", short(u.CPU.Total), short(u.CPU.User), short(u.CPU.System), short(u.CPU.Throttled))
	row("memory", "%s at most (anonymous %s, files %s)", human(u.PeakMemory), human(u.PeakAnon), human(u.PeakFile))
	row("OOM kills", "%d", u.OOMKills)
	if u.PeakPids > 0 { // without a cgroup, or before Linux 6.1 in some, nobody counts them
		row("processes", "%d at most, %d refused", u.PeakPids, u.PidsHits)
	}
	for _, d := range u.IO {
		row("device "+d.Device, "%s read, %s written", human(d.ReadBytes), human(d.WriteBytes))
	}
	if r.Truncated {
		row("output", "cut at the limit")
	}
	_ = t.Flush()
}

// short has as many digits as are worth reading.
func short(d time.Duration) time.Duration {
	switch {
	case d >= time.Second:
		return d.Round(time.Millisecond)
	case d >= time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(time.Microsecond)
}

// human is a size in its best unit: 1.5M is 1.5 times 1048576 bytes.
func human(n int64) string {
	v := float64(n)
	for _, unit := range []string{"B", "K", "M", "G"} {
		if v < 1024 {
			if unit == "B" {
				return fmt.Sprintf("%.0fB", v)
			}
			return fmt.Sprintf("%.1f%s", v, unit)
		}
		v /= 1024
	}
	return fmt.Sprintf("%.1fT", v)
}
