package rootfs

// HidePID says how much a [Proc] shows of processes that the reader may not trace
// (ptrace(2)): in a sandbox those of other users, PID 1 and, under Landlock, those of other
// commands. See hidepid in proc(5).
type HidePID uint8

const (
	// HideNothing shows every process of the sandbox, as far as the files' permissions go.
	HideNothing HidePID = iota
	// HideContents shows that they are there, and nothing in their directories.
	HideContents
	// HideProcesses shows nothing of them.
	HideProcesses
)

// hideNames are the values of the option, which the kernel takes by name since Linux 5.8. "ptraceable" is "invisible" without
// the exception for a group of the host's.
var hideNames = map[HidePID]string{HideNothing: "", HideContents: "noaccess", HideProcesses: "ptraceable"}

// Options returns the mount options, each as KEY=VALUE.
func (o Proc) Options() []string {
	var options []string
	if name := hideNames[o.Hide]; name != "" {
		options = append(options, "hidepid="+name)
	}
	if o.PIDsOnly {
		options = append(options, "subset=pid")
	}
	return options
}

// MaskedPaths returns the paths below /proc that tell of the whole machine, whatever the
// namespaces, and are hidden for that. Some exist only on some kernels.
func MaskedPaths() []string {
	return []string{
		"/proc/acpi",          // hardware, and switches of it such as wakeup
		"/proc/asound",        // sound devices; what they play shows in their state
		"/proc/interrupts",    // counts per device: keystroke timing
		"/proc/kcore",         // the machine's memory
		"/proc/keys",          // names of keys, which user namespaces divide but a shared uid does not
		"/proc/latency_stats", // stack traces of other processes
		"/proc/sched_debug",   // every process of the machine, by name (moved to debugfs in Linux 5.13)
		"/proc/scsi",          // scsi/scsi removes devices when written to (CVE-2017-16539)
		"/proc/timer_list",    // timers of the machine with kernel addresses
		"/proc/timer_stats",   // who sets timers, by name (gone in Linux 4.11)
	}
}

// ReadOnlyPaths returns the paths below /proc that change the machine when written to, and
// are made read-only for that. The permissions in them are checked against ids, so that
// alone they stop no root.
func ReadOnlyPaths() []string {
	return []string{
		"/proc/bus",           // configuration space of PCI devices
		"/proc/fs",            // settings of ext4, nfsd and others
		"/proc/irq",           // which CPU serves which device
		"/proc/sys",           // core_pattern runs a program of the job's choice on the host; modprobe likewise
		"/proc/sysrq-trigger", // one letter reboots the machine
	}
}

// ProcOps returns the masks and the read-only paths, as operations to follow a [Proc] at
// /proc.
func ProcOps() []Op {
	var ops []Op
	for _, p := range MaskedPaths() {
		ops = append(ops, Mask{Target: p})
	}
	for _, p := range ReadOnlyPaths() {
		ops = append(ops, ReadOnly{Target: p})
	}
	return ops
}
