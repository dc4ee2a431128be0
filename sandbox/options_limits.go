package sandbox

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/belljar-go/belljar/cgroup"
)

// WithMemory limits the memory of the sandbox: a size such as "50m", at least "512k", or
// "max" for no limit. It counts everything the kernel charges to the jobs: anonymous
// memory, page cache, tmpfs, kernel objects. At the limit the kernel first reclaims and
// then kills all of the command. Without WithSwap there is no swap.
func WithMemory(size string) Option {
	return sized("WithMemory", size, limitFault, func(s *spec, n int64) { s.limits.Memory = n })
}

// WithMemoryHigh sets the amount of memory above which the kernel slows the jobs down and
// reclaims, without killing: a size, at least "512k" and not above WithMemory, or "max".
func WithMemoryHigh(size string) Option {
	return sized("WithMemoryHigh", size, limitFault, func(s *spec, n int64) { s.limits.MemoryHigh = n })
}

// WithMemoryLow sets the amount of memory that the kernel leaves to the jobs while it
// reclaims that of others, as long as there is any other: a size, not above WithMemory.
// It needs cgroup v2, and that the groups above are protected by as much.
func WithMemoryLow(size string) Option {
	return sized("WithMemoryLow", size, protectFault, func(s *spec, n int64) { s.limits.MemoryLow = n })
}

// WithMemoryMin is WithMemoryLow for memory that the kernel never reclaims for others, be it
// that it has to kill.
func WithMemoryMin(size string) Option {
	return sized("WithMemoryMin", size, protectFault, func(s *spec, n int64) { s.limits.MemoryMin = n })
}

func protectFault(n int64) string {
	if n == NoLimit {
		return "is no size: all of memory cannot be promised"
	}
	return memoryFault(n)
}

// WithSwap limits swap, beyond and apart from memory: a size, "0" for none, which is the
// default under WithMemory, or "max". It needs WithMemory.
func WithSwap(size string) Option {
	return sized("WithSwap", size, func(int64) string { return "" }, func(s *spec, n int64) { s.limits.Swap = n })
}

// WithOutput limits what each command may write to standard output and standard error
// together, as far as they are read by this package and not given as files: a size, or
// "max" for no limit. What is written beyond is dropped, and the verdict
// is OutputExceeded.
func WithOutput(size string) Option {
	return sized("WithOutput", size, func(n int64) string {
		if n == NoLimit {
			return ""
		}
		return outputFault(n)
	}, func(s *spec, n int64) { s.run.Output = n })
}

// sized is an option whose value is a size, or max.
func sized(label, text string, fault func(int64) string, store func(*spec, int64)) Option {
	n, why := parseSize(text)
	if why == "" {
		why = fault(n)
	}
	return softly(single(label, text, n, why, store))
}

func limitFault(n int64) string {
	if n == NoLimit {
		return ""
	}
	return memoryFault(n)
}

// WithCPUs limits CPU time per second of real time: 0.5 is half of one CPU, 2 is two. The
// least is 0.01.
func WithCPUs(n float64) Option {
	fault := ""
	switch {
	case math.IsNaN(n) || math.IsInf(n, 0):
		fault = "is no number of CPUs"
	case n <= 0:
		fault = "is not positive"
	case n < 0.01:
		// The kernel takes no quota under 1 ms, in a period of 100 ms.
		fault = "is less than 0.01"
	case n > 8192:
		fault = "is more than 8192, the most CPUs Linux can have"
	}
	text := strconv.FormatFloat(n, 'g', -1, 64)
	o := single("WithCPUs", text, n, fault, func(s *spec, n float64) { s.limits.CPUs = n })
	o.value = text // NaN is not equal to itself
	return softly(o)
}

// WithCPUWeight sets the sandbox's share of contended CPUs in proportion to others: 1 to
// 10000, where 100 is the kernel's default.
func WithCPUWeight(n int) Option {
	fault := ""
	if n < 1 || n > 10000 {
		fault = "is not between 1 and 10000"
	}
	return softly(single("WithCPUWeight", strconv.Itoa(n), n, fault, func(s *spec, n int) { s.limits.CPUWeight = n }))
}

// WithCPUSet says on which CPUs the jobs may run, as a list of numbers and ranges such as "0-2,7". At
// least one of them must be free for it where the sandbox is; the Report says so if it is not all. Programs that
// count CPUs count these.
func WithCPUSet(list string) Option {
	o := cpusetOption("WithCPUSet", list, func(l *cgroup.Limits, list string) { l.CPUSet = list })
	return softly(o)
}

// WithMemoryNodes says from which NUMA nodes the jobs may have memory, as a list like that of WithCPUSet.
func WithMemoryNodes(list string) Option {
	o := cpusetOption("WithMemoryNodes", list, func(l *cgroup.Limits, list string) { l.MemoryNodes = list })
	return softly(o)
}

func cpusetOption(label, list string, store func(*cgroup.Limits, string)) option {
	var l cgroup.Limits
	store(&l, list)
	fault := ""
	if list == "" {
		fault = "is empty"
	}
	return single(label, list, list, orReason(fault, l), func(s *spec, v string) { store(&s.limits, v) })
}

// orReason is fault, or what is wrong with the limits, or "".
func orReason(fault string, l cgroup.Limits) string {
	var invalid *cgroup.InvalidError
	if fault == "" && errors.As(l.Validate(), &invalid) {
		return invalid.Reason
	}
	return fault
}

// IOLimit bounds what reaches one block device, in bytes and operations per second, and sets the sandbox's share of it.
type IOLimit = cgroup.IOLimit

// WithIO bounds what the jobs together read from and write to block devices, and has Stats and Usage tell how much
// that was; without a limit it only does the latter. On cgroup v2 they tell anyway; on v1 the accounts of
// single commands lack devices where any is bounded, and writes that the kernel does later are neither bounded nor counted.
//
//	WithIO(IOLimit{Device: "/dev/sda", ReadBytes: 50 << 20, WriteOps: 1000})
//
// A device is a whole disk. What goes to a file system without one, such as tmpfs, overlay or NFS, is bounded where it
// reaches a disk, if it does. A job that waits for its turn when it is to be killed is let through.
func WithIO(limits ...IOLimit) Option {
	text := ""
	for i, l := range limits {
		if i > 0 {
			text += ", "
		}
		text += l.String()
	}
	limits = slices.Clone(limits)
	return softly(single("WithIO", text, limits, orReason("", cgroup.Limits{IO: limits}), func(s *spec, v []IOLimit) {
		s.limits.IO, s.countIO = v, true
	}))
}

// WithIOWeight sets the sandbox's share of contended block devices in proportion to others: 1 to 10000, where 100 is the kernel's
// default. It needs a device with the BFQ scheduler (whose scale ends at 1000: what is above 100 is compressed), or, on cgroup v2, with
// iocost enabled; others are not shared by weight, and if there is no such device New says so.
func WithIOWeight(n int) Option {
	fault := ""
	if n < 1 || n > 10000 {
		fault = "is not between 1 and 10000"
	}
	return softly(single("WithIOWeight", strconv.Itoa(n), n, fault, func(s *spec, n int) { s.limits.IOWeight = n }))
}

// WithHugepages limits the huge pages (hugetlbfs, MAP_HUGETLB) of one size that the jobs use or reserve: the size of a page,
// such as "2m", and of all of them together, "0" for none. They are no part of WithMemory. It may be given once for each
// size that the machine has (/sys/kernel/mm/hugepages).
func WithHugepages(page, limit string) Option {
	var h cgroup.HugepageLimit
	var why string
	if h.Size, why = parseSize(page); why == "" {
		h.Limit, why = parseSize(limit)
	}
	l := cgroup.Limits{Hugepages: []cgroup.HugepageLimit{h}}
	o := single("WithHugepages", page+" "+limit, h, orReason(why, l), func(s *spec, v cgroup.HugepageLimit) {
		s.limits.Hugepages = slices.DeleteFunc(s.limits.Hugepages, func(o cgroup.HugepageLimit) bool { return o.Size == v.Size })
		s.limits.Hugepages = append(s.limits.Hugepages, v)
	})
	o.key = hugepagesKey(h)
	return softly(o)
}

// hugepagesKey tells sizes apart, however they are written.
func hugepagesKey(h cgroup.HugepageLimit) string {
	return "WithHugepages " + strconv.FormatInt(h.Size, 10)
}

// WithPids limits how many processes and threads of the jobs there are at once. A fork
// beyond it fails with EAGAIN. The sandbox's own PID 1 does not count.
func WithPids(n int) Option {
	return softly(single("WithPids", strconv.Itoa(n), n, pidsFault(n), func(s *spec, n int) { s.limits.Pids = n }))
}

// WithCgroupParent puts the sandbox's cgroup below an existing one, whose limits and those above then hold as well,
// instead of below one that is found by itself: the host program's, or the nearest above it that may have children.
// Sandboxes of one program may have different parents.
//
// The path is the group's as /proc/self/cgroup shows paths: absolute, from the top of the hierarchy as the host program
// sees it; or the group's directory below /sys/fs/cgroup. On cgroup v1 the group must exist under this path in the
// hierarchy of every controller that the limits need. It must not have processes of its own on v2. Nothing in it is
// changed but that controllers are handed down (cgroup.subtree_control), which stays so; a group named belljar-… is
// made in it, and removed with the last sandbox there.
//
// What is wrong with a parent is an error of stage "cgroup", with ENOENT, EXDEV, ENOTDIR, EINVAL, EACCES, EROFS,
// EOPNOTSUPP or EBUSY as listed at [cgroup.ParentError]; it and Explain say what to do.
func WithCgroupParent(path string) Option {
	fault := ""
	var invalid *cgroup.InvalidError
	if errors.As(cgroup.ValidParent(path), &invalid) {
		fault = invalid.Reason
	}
	return single("WithCgroupParent", path, path, fault, func(s *spec, v string) { s.parent = v })
}

// WithCPUTime limits the CPU time of each command, user and system, of all its processes
// together; at least a millisecond.
func WithCPUTime(d time.Duration) Option {
	return softly(single("WithCPUTime", d.String(), d, timeFault(d), func(s *spec, d time.Duration) { s.run.CPUTime = d }))
}

// WithWallTime limits how long each command takes, by the monotonic clock; at least a
// millisecond.
func WithWallTime(d time.Duration) Option {
	return softly(single("WithWallTime", d.String(), d, timeFault(d), func(s *spec, d time.Duration) { s.run.WallTime = d }))
}

// RlimitInfinity is the value of an rlimit that does not limit.
const RlimitInfinity = math.MaxUint64

// rlimitNumbers has the rlimits by name, numbered as Linux does on every architecture but alpha, mips and
// sparc (asm-generic/resource.h).
var rlimitNumbers = map[string]int{
	"cpu": 0, "fsize": 1, "data": 2, "stack": 3, "core": 4, "rss": 5, "nproc": 6, "nofile": 7, "memlock": 8,
	"as": 9, "locks": 10, "sigpending": 11, "msgqueue": 12, "nice": 13, "rtprio": 14, "rttime": 15,
}

// defaultRlimits are set in place of those of the host program, which may be anything. There
// is none on address space, which says little of memory use and breaks Go, Java and
// sanitizers; and none on processes, which counts a uid's over all sandboxes.
func defaultRlimits() []Rlimit {
	return []Rlimit{
		// Where kernel.core_pattern is a pipe, as many distributions have it, the host's root runs its program for whoever crashes, beside all limits, and this one counts for nothing (core(5)). But 1 is the
		// kernel's mark of one that is to have none (fs/coredump.c), and for a file it is as good as 0.
		{Resource: rlimitNumbers["core"], Soft: 1, Hard: 1},
		{Resource: rlimitNumbers["nofile"], Soft: 1024, Hard: 1024},
		{Resource: rlimitNumbers["memlock"], Soft: 64 << 10, Hard: 64 << 10},
		// Nobody is put before the host's other programs: a limit on CPUs does not hold a realtime process (sched(7)), and users who make music may have such.
		{Resource: rlimitNumbers["nice"]},
		{Resource: rlimitNumbers["rtprio"]},
	}
}

// WithRlimit sets a resource limit of every process inside: the resource by the name
// setrlimit(2) has for it, such as "nofile", and its soft and hard limit, in that
// resource's unit, or RlimitInfinity. Without it core is 1, which has nothing dumped
// and, unlike 0, no program of the host's run where kernel.core_pattern is a pipe; nofile is 1024, memlock 64 KiB, and nice and
// rtprio are 0. A limit of "nproc" needs WithPids beside it: by itself it bounds a user, not a
// sandbox.
func WithRlimit(resource string, soft, hard uint64) Option {
	n, ok := rlimitNumbers[resource]
	r := Rlimit{Resource: n, Soft: soft, Hard: hard}
	fault := ""
	switch {
	case !ok:
		fault = "names no resource"
	case soft > hard:
		fault = "has a soft limit above the hard one"
	}
	text := fmt.Sprintf("%s %s %s", resource, rlimitText(soft), rlimitText(hard))
	o := single("WithRlimit", text, r, fault, func(s *spec, r Rlimit) { s.setRlimit(r) })
	o.key = "WithRlimit " + resource
	return softly(o)
}

func rlimitText(n uint64) string {
	if n == RlimitInfinity {
		return "unlimited"
	}
	return strconv.FormatUint(n, 10)
}

func (s *spec) setRlimit(r Rlimit) {
	for i := range s.rlimits {
		if s.rlimits[i].Resource == r.Resource {
			s.rlimits[i] = r
			return
		}
	}
	s.rlimits = append(s.rlimits, r)
}
