package namespace

// Kind is one kind of Linux namespace. The zero Kind is not valid.
type Kind uint8

// The kinds of namespace, in the order in which a set prints them. The kernel documents
// them in namespaces(7).
const (
	// User maps user and group ids, and is what all capabilities are relative to.
	User Kind = iota + 1
	// PID numbers processes; everything in it ends with its first process.
	PID
	// Mount is the tree of mounted file systems.
	Mount
	// UTS is the host name and the domain name.
	UTS
	// IPC is System V IPC and POSIX message queues.
	IPC
	// Net is network devices, addresses, routes, ports and abstract sockets.
	Net
	// Cgroup is what /proc/self/cgroup calls the root (Linux 4.6).
	Cgroup
	// Time is offsets of the monotonic and boot-time clocks (Linux 5.6).
	Time
)

// kinds describes every kind at its own index. The flags are part of the kernel's ABI and
// equal on all architectures (clone(2)); they are repeated here so that the package
// compiles where golang.org/x/sys/unix has none.
var kinds = [...]struct {
	name, file string
	flag       uint64
}{
	User:   {"user", "user", 0x10000000},
	PID:    {"pid", "pid", 0x20000000},
	Mount:  {"mount", "mnt", 0x00020000},
	UTS:    {"uts", "uts", 0x04000000},
	IPC:    {"ipc", "ipc", 0x08000000},
	Net:    {"net", "net", 0x40000000},
	Cgroup: {"cgroup", "cgroup", 0x02000000},
	Time:   {"time", "time", 0x00000080},
}

// Valid reports whether k is one of the constants of this package.
func (k Kind) Valid() bool { return k >= User && k <= Time }

// String returns the name of the kind: "user", "pid", "mount", "uts", "ipc", "net",
// "cgroup" or "time".
func (k Kind) String() string {
	if !k.Valid() {
		return "invalid"
	}
	return kinds[k].name
}

// File returns the name of the kind's file below /proc/PID/ns, or "" if k is not valid.
// It differs from String for Mount, whose file is "mnt".
func (k Kind) File() string {
	if !k.Valid() {
		return ""
	}
	return kinds[k].file
}

// CloneFlag returns the CLONE_NEW* bit of the kind for clone3(2) and setns(2), or 0 if k
// is not valid. CLONE_NEWTIME shares its bit with the old clone(2)'s exit signal, so it
// is good for clone3, unshare and setns only.
func (k Kind) CloneFlag() uint64 {
	if !k.Valid() {
		return 0
	}
	return kinds[k].flag
}
