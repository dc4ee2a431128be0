package sandbox

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/belljar-go/belljar/rootfs"
)

// View says of what machine the files tell by which programs find out how large it is:
// cpuinfo, meminfo, stat, uptime, loadavg, swaps and diskstats of /proc,
// /sys/devices/system/cpu/online, and the cgroup at /sys/fs/cgroup.
type View uint8

const (
	// ViewHost leaves the kernel's files, which tell of the host. It is the default.
	ViewHost View = iota
	// ViewSandbox tells of the sandbox: through lxcfs where that runs (ViewLXCFS), else by
	// files of the library's own (ViewFiles). The report says which.
	ViewSandbox
	// ViewFiles tells of the sandbox as it was when it was made, by files that never change:
	// nothing of its memory is used, and no time passes in uptime.
	ViewFiles
	// ViewLXCFS tells of the sandbox as it is, through lxcfs, a daemon of the host's that has
	// to run (package lxcfs on Debian). It takes a cgroup and a PID namespace of the sandbox's
	// own. PID 1, which lxcfs goes by, is in the sandbox's cgroup then.
	ViewLXCFS
)

var viewNames = []string{"host", "sandbox", "files", "lxcfs"}

// String returns the view in a word.
func (v View) String() string {
	if int(v) < len(viewNames) {
		return viewNames[v]
	}
	return "unknown"
}

const onlineFile = "/sys/devices/system/cpu/online"

// machine is what a view is made of.
type machine struct {
	cpuinfo string // of the host
	cpus    []int  // that the sandbox may use, ascending
	allCPUs bool   // they are all that the host program may use
	memory  int64  // bytes; 0: as much as the host has
	swap    int64  // bytes
	now     int64  // seconds since 1970
	lxcfs   string // where its files are; "": the files are made
}

// pickCPUs chooses as many of the CPUs in allowed as a limit of their time needs, a different part at each turn, so that sandboxes spread.
func pickCPUs(allowed []int, quota float64, turn int) []int {
	n := int(math.Ceil(quota))
	if quota <= 0 || n >= len(allowed) {
		return allowed
	}
	picked := make([]int, n)
	for i := range picked {
		picked[i] = allowed[(turn*n+i)%len(allowed)]
	}
	slices.Sort(picked)
	return picked
}

// files returns what the files say, by path.
func (m machine) files() map[string]string {
	files := map[string]string{
		"/proc/stat": m.stat(), "/proc/uptime": "0.00 0.00\n", "/proc/loadavg": "0.00 0.00 0.00 1/1 1\n", "/proc/diskstats": "",
		onlineFile: cpuList(m.cpus) + "\n",
	}
	if !m.allCPUs {
		files["/proc/cpuinfo"] = someCPUs(m.cpuinfo, m.cpus)
	}
	if m.memory > 0 {
		files["/proc/meminfo"] = m.meminfo()
		files["/proc/swaps"] = m.swaps()
	}
	return files
}

// someCPUs keeps of cpuinfo the paragraphs of these processors, and those of none.
func someCPUs(cpuinfo string, cpus []int) string {
	var b strings.Builder
	for _, par := range strings.SplitAfter(cpuinfo, "\n\n") {
		key, value, _ := strings.Cut(par[:max(strings.IndexByte(par, '\n'), 0)], ":")
		n, err := strconv.Atoi(strings.TrimSpace(value))
		if strings.TrimSpace(key) != "processor" || err != nil || slices.Contains(cpus, n) {
			b.WriteString(par)
		}
	}
	return b.String()
}

// stat is proc_stat(5) of a machine that has just been switched on.
func (m machine) stat() string {
	const none = " 0 0 0 0 0 0 0 0 0 0\n"
	var b strings.Builder
	b.WriteString("cpu " + none)
	for _, c := range m.cpus {
		b.WriteString("cpu" + strconv.Itoa(c) + none)
	}
	fmt.Fprintf(&b, "intr 0\nctxt 0\nbtime %d\nprocesses 1\nprocs_running 1\nprocs_blocked 0\nsoftirq%s", m.now, none)
	return b.String()
}

// meminfo is proc_meminfo(5) with everything free.
func (m machine) meminfo() string {
	var b strings.Builder
	row := func(bytes int64, names ...string) {
		for _, n := range names {
			fmt.Fprintf(&b, "%-15s %8d kB\n", n+":", bytes>>10)
		}
	}
	row(m.memory, "MemTotal", "MemFree", "MemAvailable")
	row(0, "Buffers", "Cached", "SwapCached", "Active", "Inactive", "Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "Unevictable", "Mlocked")
	row(m.swap, "SwapTotal", "SwapFree")
	row(0, "Dirty", "Writeback", "AnonPages", "Mapped", "Shmem", "KReclaimable", "Slab", "SReclaimable", "SUnreclaim", "KernelStack", "PageTables")
	row(m.memory+m.swap, "CommitLimit")
	row(0, "Committed_AS", "VmallocTotal", "VmallocUsed", "VmallocChunk", "AnonHugePages")
	b.WriteString("HugePages_Total:       0\nHugePages_Free:        0\n")
	row(2<<20, "Hugepagesize")
	return b.String()
}

func (m machine) swaps() string {
	text := "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
	if m.swap > 0 {
		text += fmt.Sprintf("none%36svirtual\t\t%d\t\t0\t\t-2\n", "", m.swap>>10)
	}
	return text
}

// cpuList writes numbers as the kernel does: 0-2,5.
func cpuList(cpus []int) string {
	var parts []string
	for i := 0; i < len(cpus); {
		j := i
		for j+1 < len(cpus) && cpus[j+1] == cpus[j]+1 {
			j++
		}
		part := strconv.Itoa(cpus[i])
		if j > i {
			part += "-" + strconv.Itoa(cpus[j])
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}

// parseCPUList reads what cpuList writes.
func parseCPUList(list string) ([]int, error) {
	var cpus []int
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := strconv.ParseUint(first, 10, 16)
		b := a
		if err == nil && isRange {
			b, err = strconv.ParseUint(last, 10, 16)
		}
		if err != nil {
			return nil, err
		}
		for ; a <= b; a++ {
			cpus = append(cpus, int(a))
		}
	}
	return cpus, nil
}

// ops returns what has to be added to a root with these operations of the caller's for it to tell of this machine.
func (m machine) ops(callers []rootfs.Op) []rootfs.Op {
	var ops []rootfs.Op
	files := m.files()
	for _, path := range rootfs.Substitutes() {
		data, ours := files[path]
		if m.lxcfs == "" && !ours {
			continue
		}
		if path == onlineFile && !slices.ContainsFunc(callers, func(op rootfs.Op) bool { return rootfs.Within(path, op.Path()) }) {
			// A single file where sysfs would be, which no sandbox has unless the caller shows the host's.
			ops = append(ops, rootfs.Tmpfs{Target: "/sys", Size: 1 << 20, Inodes: 64, ReadOnly: true}, rootfs.File{Target: path, Data: []byte(data), Mode: 0o444})
			ours = false
		}
		switch {
		case m.lxcfs != "":
			ops = append(ops, rootfs.Substitute{Target: path, Source: m.lxcfs + path})
		case ours:
			ops = append(ops, rootfs.Substitute{Target: path, Data: []byte(data)})
		}
	}
	return ops
}
