package sandbox

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/belljar-go/belljar/namespace"
	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// Landlock is a wall behind that of the mounts: what a command may open is said a second time, to another part of the kernel. A file of the host
// that comes into reach by a descriptor, a mount or a mistake of ours is under none of the rules, which all begin in the sandbox's own root.
//
// It takes three system calls, made by the launched process itself, so there is no library for it here: one that restricts the calling
// process is of no use to a program that has to stay as it is.

// landlock is what the commands of a sandbox are restricted to.
type landlock struct {
	abi     int
	handled uint64 // rights that are denied unless a rule grants them; 0: none
	scoped  uint64 // what reaches only a command's own processes
	wanted  uint64 // what should be scoped, if the kernel can
	rules   []landRule
}

type landRule struct {
	path   string
	access uint64
}

// Rights, by the version of the interface that brought them (landlock(7)).
const (
	landRead   = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR
	landFile   = unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	landDevice = landFile | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	// Nowhere is a device made: nothing here could open it.
	landWrite = landFile | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	// onFile are the rights that exist for what is no directory.
	onFile = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | landDevice

	landABI1 = 1<<13 - 1
)

// handledBy are the file system rights that an interface knows. Before version 2 (Linux 5.19) every move of a file to another directory is
// refused, which breaks too much: such a kernel counts as one without.
func handledBy(abi int) uint64 {
	rights := uint64(landABI1 | unix.LANDLOCK_ACCESS_FS_REFER)
	if abi >= 3 {
		rights |= unix.LANDLOCK_ACCESS_FS_TRUNCATE
	}
	if abi >= 5 {
		rights |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
	}
	return rights
}

// landlockABI asks the kernel for the version of its interface; 0 with a reason if there is none.
func landlockABI() (int, error) {
	v, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	switch {
	case errno == unix.EOPNOTSUPP:
		return 0, errLandlockOff
	case errno != 0:
		return 0, fmt.Errorf("landlock_create_ruleset: %w", errno)
	}
	return int(v), nil
}

var (
	errLandlockOff = fmt.Errorf("the kernel has Landlock switched off (its lsm= parameter does not name it): %w", ErrUnsupported)
	errLandlockOld = fmt.Errorf("files can be moved between directories under Landlock since Linux 5.19 only: %w", ErrUnsupported)
)

// planLandlock decides what commands are restricted to; nil: nothing. why says why there is none, with an error if the sandbox cannot do without.
func planLandlock(s *spec, f *hostFacts, ops []rootfs.Op, src *sources) (_ *landlock, why string, err error) {
	mount := slices.Contains(s.caps, unix.CAP_SYS_ADMIN)
	switch {
	case s.landlock == landlockOff:
		return nil, "", nil
	case s.landlock == landlockAuto && mount:
		return nil, "left out: it forbids every change of mounts, which CAP_SYS_ADMIN was asked for", nil
	case !s.namespaces.Has(namespace.Mount):
		return nil, "left out: the host's files are the sandbox's", nil
	case s.landlock == landlockAuto && !s.namespaces.Has(namespace.IPC):
		return nil, "left out: the host's message queues are files that have no path in the sandbox's root", nil
	}
	lack := f.landlockErr
	if lack == nil && f.landlock < 2 {
		lack = errLandlockOld
	}
	if lack != nil && s.landlock == landlockRequired && !s.mayGiveUp("WithLandlock") {
		return nil, "", &Error{Stage: "landlock", Op: "WithLandlock", Err: lack}
	}
	if lack != nil {
		return nil, lack.Error(), nil
	}
	l := &landlock{abi: f.landlock, handled: handledBy(f.landlock)}
	l.shared(s.namespaces.Has(namespace.PID), s.namespaces.Has(namespace.Net))
	l.rules = landRules(ops, src, s.writable())
	return l, "", nil
}

// shared scopes what is the host's where a namespace is (Linux 6.12): in namespaces of one's own there is nobody else to reach, and the commands of a
// sandbox may signal each other, and meet at an abstract name. Engines listen on such names with no other guard (CVE-2020-15257).
func (l *landlock) shared(ownPIDs, ownNet bool) {
	if !ownPIDs {
		l.wanted |= unix.LANDLOCK_SCOPE_SIGNAL
	}
	if !ownNet {
		l.wanted |= unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	if l.abi >= 6 {
		l.scoped = l.wanted
	}
}

// landRules follow the root: everything in it may be read and executed, and written to what is writable. What lies in a writable place
// and is not writable itself is left to its mount: rules add up on the way to the root, and take nothing back.
func landRules(ops []rootfs.Op, src *sources, writable bool) []landRule {
	root := landRule{"/", landRead}
	if writable { // a layer of the sandbox's own takes what is written
		root.access |= landWrite
	}
	var rules []landRule
	add := func(path string, access uint64) { rules = append(rules, landRule{path, access}) }
	for _, op := range ops {
		switch o := op.(type) {
		case rootfs.Proc:
			add(o.Target, landFile)
		case rootfs.Dev:
			add(o.Target, landDevice)
			// The null that a command without files is given is the host's, which is this one by another path.
			add(o.Target+"/null", onFile&landRead|landDevice)
			add(o.Target+"/shm", landWrite)
			add(o.Target+"/mqueue", landRead|landWrite) // mq_open(2) reaches a queue by no path that begins at the root
		case rootfs.Tmpfs:
			if o.Target != "/" && !o.ReadOnly {
				add(o.Target, landWrite)
			}
		case rootfs.Bind:
			access := uint64(landRead | landWrite)
			if o.Flags&rootfs.BindReadOnly != 0 {
				access = landRead
			}
			if !src.at[o.Source].dir {
				access &= onFile
			}
			if access&landWrite != 0 {
				add(o.Target, access)
			}
		}
	}
	kept := []landRule{root}
	for _, r := range rules {
		covered := slices.ContainsFunc(rules, func(o landRule) bool {
			return o.path != r.path && rootfs.Within(r.path, o.path) && o.access&r.access == r.access
		})
		if !covered {
			kept = append(kept, r)
		}
	}
	return kept
}

// ruleset adds the steps that make a ruleset of a command's own, once the command's descriptors are the numbers from 0 up to files. reopen
// says what may be done with each of them by another open of it, see commandShape.
func (a assembler) ruleset(l *landlock, files int, reopen string) plan.Reg {
	set := a.newRuleset(l)
	a.landRules(l, set)
	for i := range files {
		if rights := binary.NativeEndian.Uint64([]byte(reopen[8*i:])) & l.handled; rights != 0 {
			// What a name like /dev/stdin opens is the file that was given, wherever it is from. Pipes are under no rules.
			a.landRule(set, a.beneath(rights, i), "file").Tolerate(unix.EBADFD)
		}
	}
	return set
}

// newRuleset adds the step that makes an empty ruleset: nothing is allowed.
func (a assembler) newRuleset(l *landlock) plan.Reg {
	a.Stage("landlock")
	set := a.Reg("ruleset")
	attr, size := a.Words("{"+landNames(l.handled)+"}", l.handled), 8
	if l.scoped != 0 {
		attr, size = a.Words("{"+landNames(l.handled)+", scope "+scopeNames(l.scoped, "+")+"}", l.handled, 0, l.scoped), 24
	}
	a.Call(unix.SYS_LANDLOCK_CREATE_RULESET, "landlock_create_ruleset", "ruleset", attr, plan.Int(size), plan.Zero).To(set)
	return set
}

// landRules adds the steps that fill a ruleset with what is allowed in every command, once the root is as commands see it.
func (a assembler) landRules(l *landlock, set plan.Reg) {
	a.Stage("landlock")
	for _, r := range l.rules {
		attr := a.beneath(r.access&l.handled, -1)
		at := a.openat2(plan.None, r.path, unix.O_PATH, "O_PATH", 0, r.path)
		a.Last().Into(plan.Arg{Value: attr.Value + 8}, "parent")
		if r.path != "/" {
			a.Last().Tolerate().Skipping(2) // not in a root of the caller's, or gone from one that somebody changes: nothing is granted
		}
		a.landRule(set, attr, r.path)
		a.close(at)
	}
}

// beneath is a struct landlock_path_beneath_attr; a descriptor of -1 is filled in by a step.
func (a assembler) beneath(access uint64, fd int) plan.Arg {
	attr := make([]byte, 12)
	binary.NativeEndian.PutUint64(attr, access)
	binary.NativeEndian.PutUint32(attr[8:], uint32(int32(fd)))
	at := "parent"
	if fd >= 0 {
		at = fmt.Sprint(fd)
	}
	return a.Bytes(attr, fmt.Sprintf("{%s, %s}", landNames(access), at))
}

func (a assembler) landRule(set plan.Reg, attr plan.Arg, object string) *plan.Step {
	const pathBeneath = 1 // LANDLOCK_RULE_PATH_BENEATH
	return a.Call(unix.SYS_LANDLOCK_ADD_RULE, "landlock_add_rule", object, plan.R(set), plan.Flag(pathBeneath, "PATH_BENEATH"), attr, plan.Zero)
}

// restrict adds the step from which on the rules hold. It needs no_new_privs.
func (a assembler) restrict(l *landlock, set plan.Reg) {
	a.restrictBy(l, set)
	a.close(set)
}

// restrictBy is restrict for a process whose descriptors are not its own.
func (a assembler) restrictBy(l *landlock, set plan.Reg) {
	a.Stage("landlock")
	flags := plan.Zero
	if l.abi >= 7 {
		// What the program runs into is not logged after its exec (Linux 6.15, landlock_restrict_self(2)). What it runs into by a ruleset of its own making
		// would be, and it could flood the host's audit log so.
		flags = plan.Flag(unix.LANDLOCK_RESTRICT_SELF_LOG_SUBDOMAINS_OFF, "LOG_SUBDOMAINS_OFF")
	}
	a.Call(unix.SYS_LANDLOCK_RESTRICT_SELF, "landlock_restrict_self", "ruleset", plan.R(set), flags)
}

// landNames says what rights are about, not each of them.
func landNames(access uint64) string {
	var words []string
	for _, n := range []flagName{
		{unix.LANDLOCK_ACCESS_FS_READ_FILE, "read"},
		{unix.LANDLOCK_ACCESS_FS_WRITE_FILE, "write"},
		{unix.LANDLOCK_ACCESS_FS_MAKE_REG, "make"},
		{unix.LANDLOCK_ACCESS_FS_IOCTL_DEV, "device ioctl"},
	} {
		if access&n.bit != 0 {
			words = append(words, n.name)
		}
	}
	return strings.Join(words, "+")
}

// reopen is what may be done with a file that is handed over if the program opens it by a name for the descriptor, such as /dev/stdin: no more than
// with the descriptor itself. A directory leads to what is below it.
func reopen(f *os.File) (access uint64) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		var st unix.Stat_t
		flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
		if err != nil || unix.Fstat(int(fd), &st) != nil {
			return
		}
		switch kind := st.Mode & unix.S_IFMT; {
		case kind == unix.S_IFSOCK, kind == unix.S_IFIFO && nameless(int(fd)):
		case kind == unix.S_IFDIR:
			access = landRead | landWrite
		case flags&unix.O_PATH != 0:
			access = onFile
		default:
			if flags&unix.O_ACCMODE != unix.O_WRONLY {
				access |= onFile & landRead
			}
			if flags&unix.O_ACCMODE != unix.O_RDONLY {
				access |= landFile
			}
			if kind == unix.S_IFCHR {
				access |= unix.LANDLOCK_ACCESS_FS_IOCTL_DEV
			}
		}
	})
	return access
}

// nameless tells a pipe from a FIFO, which has a path.
func nameless(fd int) bool {
	var st unix.Statfs_t
	return unix.Fstatfs(fd, &st) == nil && st.Type == unix.PIPEFS_MAGIC
}

// describe says what is restricted.
func (l *landlock) describe() string {
	var write []string
	for _, r := range l.rules {
		if r.access&landWrite != 0 {
			write = append(write, quotePath(r.path))
		}
	}
	text := fmt.Sprintf("landlock: version %d of its interface, reading only below /, writing only below %s", l.abi, strings.Join(write, " "))
	if l.abi < 3 {
		text += ", truncation left to the mounts"
	}
	if l.abi >= 5 {
		text += ", ioctls of devices only below /dev"
	}
	if l.scoped != 0 {
		text += ", " + scopeNames(l.scoped, " and ") + " only within a command"
	}
	if lost := l.wanted &^ l.scoped; lost != 0 {
		text += ", " + scopeNames(lost, " and ") + " of the host in reach (Linux 6.12 could scope them)"
	}
	return text
}

func scopeNames(scope uint64, and string) string {
	var words []string
	for _, n := range []flagName{{unix.LANDLOCK_SCOPE_SIGNAL, "signals"}, {unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET, "abstract sockets"}} {
		if scope&n.bit != 0 {
			words = append(words, n.name)
		}
	}
	return strings.Join(words, and)
}
