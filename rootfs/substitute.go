package rootfs

import "slices"

// Substitute shows a file of the caller's in place of one of the kernel's that tells of
// the whole machine: [Substitutes] lists them. It is read-only, and follows what it is
// shown in. A file that does not exist is left alone.
//
// No other file of a proc has substitutes: on those of processes, and on switches,
// security modules and this library rely themselves (CVE-2019-16884, CVE-2025-52881).
type Substitute struct {
	Target string // in the root
	Data   []byte // the content, unless there is a Source
	Source string // a file of the host, absolute; "" for none
}

// Substitutes returns the files that can be shown as something else.
func Substitutes() []string {
	return []string{
		"/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
		"/sys/devices/system/cpu/online",
	}
}

// Path returns the target.
func (o Substitute) Path() string { return o.Target }

func (Substitute) verb() string { return "substitute" }
func (Substitute) covers() bool { return true }

func (o Substitute) String() string {
	if o.Source != "" {
		return line("substitute", quote(o.Source), "on", quote(o.Target), "ro")
	}
	return line("substitute", quote(o.Target), byteCount(o.Data), "ro")
}

// Validate reports a target that has no substitutes, and a source that is no path or comes
// with data.
func (o Substitute) Validate() error {
	switch {
	case !slices.Contains(Substitutes(), o.Target):
		return check(o, "has to be the kernel's", o.Target)
	case o.Source == "":
		return nil
	case o.Data != nil:
		return check(o, "has both data and a source", o.Source)
	}
	if why := pathFault(o.Source); why != "" {
		return check(o, "source "+why, o.Source)
	}
	return nil
}
