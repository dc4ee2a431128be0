package sandbox

import (
	"encoding/binary"
	"strings"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// assembler adds the system calls that plans are made of, with their arguments as a person would write them.
type assembler struct {
	*plan.Builder
	strict bool   // paths with symbolic links are refused
	cwd    string // the path that the current directory was attached at; "": it is the root
}

func newAssembler() assembler { return assembler{Builder: plan.NewBuilder()} }

// names renders the set bits of flags.
func names(flags uint64, of []flagName) plan.Arg {
	var set []string
	for _, n := range of {
		if flags&n.bit != 0 {
			set = append(set, n.name)
		}
	}
	return plan.Flag(flags, strings.Join(set, "|"))
}

type flagName struct {
	bit  uint64
	name string
}

var cloneNames = []flagName{
	{unix.CLONE_NEWUSER, "CLONE_NEWUSER"},
	{unix.CLONE_NEWPID, "CLONE_NEWPID"},
	{unix.CLONE_NEWNS, "CLONE_NEWNS"},
	{unix.CLONE_NEWUTS, "CLONE_NEWUTS"},
	{unix.CLONE_NEWIPC, "CLONE_NEWIPC"},
	{unix.CLONE_NEWNET, "CLONE_NEWNET"},
	{unix.CLONE_NEWCGROUP, "CLONE_NEWCGROUP"},
	{unix.CLONE_NEWTIME, "CLONE_NEWTIME"},
	{unix.CLONE_FILES, "CLONE_FILES"},
}

var mountAttrNames = []flagName{
	{unix.MOUNT_ATTR_RDONLY, "RDONLY"},
	{unix.MOUNT_ATTR_NOSUID, "NOSUID"},
	{unix.MOUNT_ATTR_NODEV, "NODEV"},
	{unix.MOUNT_ATTR_NOEXEC, "NOEXEC"},
	{unix.MOUNT_ATTR_IDMAP, "IDMAP"},
}

func (a assembler) prctl(option int, name string, args ...plan.Arg) *plan.Step {
	all := append([]plan.Arg{plan.Flag(uint64(option), name)}, args...)
	for len(all) < 5 {
		all = append(all, plan.Zero)
	}
	return a.Call(unix.SYS_PRCTL, "prctl", name, all...)
}

// fork is where the first process of a joining launch ends and the second begins.
func (a assembler) fork() {
	a.Call(unix.SYS_CLONE3, "clone3", "process", plan.Cell(plan.CellInner), plan.Int(88)).Fork = true
}

func (a assembler) deathSignal(sig unix.Signal) {
	text := "SIGKILL"
	if sig == 0 {
		text = "0"
	}
	a.prctl(unix.PR_SET_PDEATHSIG, "PR_SET_PDEATHSIG", plan.Flag(uint64(sig), text))
}

func (a assembler) dumpable(on int) {
	a.prctl(unix.PR_SET_DUMPABLE, "PR_SET_DUMPABLE", plan.Int(on))
}

// awaitParent lets the zygote do its part, above all the id maps.
func (a assembler) awaitParent() {
	const wait, wake = 0, 1
	a.Call(unix.SYS_FUTEX, "futex", "parent", plan.Cell(plan.CellPID), plan.Flag(wake, "FUTEX_WAKE"), plan.Int(1))
	// The timeout only matters if the zygote is stopped forever: its death is a signal.
	a.Call(unix.SYS_FUTEX, "futex", "parent", plan.Cell(plan.CellGo), plan.Flag(wait, "FUTEX_WAIT"), plan.Zero,
		a.Words("{60s}", 60, 0)).Tolerate(unix.EAGAIN)
}

// ownTable takes a table of descriptors of the process's own, which has what is in registers: it is the zygote's as far as there. Nothing may be opened
// before. See the launch's table.go for the number.
func (a assembler) ownTable() {
	a.Call(unix.SYS_CLOSE_RANGE, "close_range", "descriptors", plan.R(a.Reg("table")), plan.Flag(1<<32-1, "~0"), plan.Flag(unix.CLOSE_RANGE_UNSHARE, "CLOSE_RANGE_UNSHARE"))
}

// keepOnly moves descriptors to the numbers 0, 1, 2, … and closes all others, at once: a copy of the zygote's descriptors must not be
// held by a process that may hang later. Numbers from inherit on close at the exec.
func (a assembler) keepOnly(regs []plan.Reg, inherit int) {
	n := len(regs)
	for _, r := range regs {
		a.Call(unix.SYS_FCNTL, "fcntl", "descriptors", plan.R(r), plan.Flag(unix.F_DUPFD_CLOEXEC, "F_DUPFD_CLOEXEC"), plan.Int(n)).To(r)
	}
	for i, r := range regs {
		flags := plan.Zero
		if i >= inherit {
			flags = plan.Flag(unix.O_CLOEXEC, "O_CLOEXEC")
		}
		a.Call(unix.SYS_DUP3, "dup3", "descriptors", plan.R(r), plan.Int(i), flags).To(r)
	}
	a.Call(unix.SYS_CLOSE_RANGE, "close_range", "descriptors", plan.Int(n), plan.Flag(1<<32-1, "~0"), plan.Zero)
}

func (a assembler) close(r plan.Reg) {
	name := a.Plan().RegName(r)
	_, object, named := strings.Cut(name, ":")
	if !named {
		object = name
	}
	a.Call(unix.SYS_CLOSE, "close", object, plan.R(r))
}

// filesystem mounts a new file system of that type, not yet attached anywhere.
func (a assembler) filesystem(kind, object string, attrs uint64, options ...string) plan.Reg {
	fs := a.Reg("fs")
	mnt := a.Reg("mnt:" + object)
	a.Call(unix.SYS_FSOPEN, "fsopen", object, a.Str(kind), plan.Flag(unix.FSOPEN_CLOEXEC, "FSOPEN_CLOEXEC")).To(fs)
	for _, o := range options {
		key, value, valued := strings.Cut(o, "=")
		if !valued {
			a.Call(unix.SYS_FSCONFIG, "fsconfig", object, plan.R(fs), plan.Flag(unix.FSCONFIG_SET_FLAG, "SET_FLAG"), a.Str(key), plan.Null, plan.Zero)
			continue
		}
		a.Call(unix.SYS_FSCONFIG, "fsconfig", object, plan.R(fs), plan.Flag(unix.FSCONFIG_SET_STRING, "SET_STRING"), a.Str(key), a.Str(value), plan.Zero)
	}
	a.Call(unix.SYS_FSCONFIG, "fsconfig", object, plan.R(fs), plan.Flag(unix.FSCONFIG_CMD_CREATE, "CMD_CREATE"), plan.Null, plan.Null, plan.Zero)
	a.Call(unix.SYS_FSMOUNT, "fsmount", object, plan.R(fs), plan.Flag(unix.FSMOUNT_CLOEXEC, "FSMOUNT_CLOEXEC"), names(attrs, mountAttrNames)).To(mnt)
	a.close(fs)
	return mnt
}

// openTree clones the mounts at a path of the root directory of the moment.
func (a assembler) openTree(path string) plan.Reg {
	r := a.Reg("tree:" + path)
	a.Call(unix.SYS_OPEN_TREE, "open_tree", path, plan.CWD, a.Str(path), openTreeFlags(0)).To(r)
	return r
}

// openTreeAt clones what is below a directory descriptor; an empty path stands for the descriptor itself.
func (a assembler) openTreeAt(dir plan.Reg, path, object string) plan.Reg {
	r := a.Reg("tree:" + object)
	flags := uint64(0)
	if path == "" {
		flags = unix.AT_EMPTY_PATH
	}
	a.Call(unix.SYS_OPEN_TREE, "open_tree", object, plan.R(dir), a.Str(path), openTreeFlags(flags)).To(r)
	return r
}

func openTreeFlags(more uint64) plan.Arg {
	text := "CLONE|CLOEXEC|AT_RECURSIVE"
	if more != 0 {
		text += "|AT_EMPTY_PATH"
	}
	return plan.Flag(unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC|unix.AT_RECURSIVE|more, text)
}

// setattr restricts a tree, and all mounts in it if recursive. userns, unless None, is whose id map the mount gets.
func (a assembler) setattr(tree plan.Reg, object string, set uint64, recursive bool, private bool) *plan.Step {
	flags, text := uint64(unix.AT_EMPTY_PATH), "AT_EMPTY_PATH"
	if recursive {
		flags, text = flags|unix.AT_RECURSIVE, text+"|AT_RECURSIVE"
	}
	propagation := uint64(0)
	if private {
		propagation = unix.MS_PRIVATE
	}
	attr := a.Words("{"+names(set, mountAttrNames).Text+"}", set, 0, propagation, 0)
	return a.Call(unix.SYS_MOUNT_SETATTR, "mount_setattr", object, plan.R(tree), a.Str(""), plan.Flag(flags, text), attr, plan.Int(32))
}

// attach moves a tree onto what a descriptor stands for.
func (a assembler) attach(tree, target plan.Reg, object string) {
	a.Call(unix.SYS_MOVE_MOUNT, "move_mount", object, plan.R(tree), a.Str(""), plan.R(target), a.Str(""),
		plan.Flag(unix.MOVE_MOUNT_F_EMPTY_PATH|unix.MOVE_MOUNT_T_EMPTY_PATH, "F_EMPTY_PATH|T_EMPTY_PATH"))
}

// relative makes a path one from the current directory on.
func (a assembler) relative(p string) string {
	if p = strings.TrimPrefix(strings.TrimPrefix(p, a.cwd), "/"); p == "" {
		return "."
	}
	return p
}

// openat2 opens a path below dir, which may be plan.None for the current directory. The path is taken as if dir were the root: no
// `..`, absolute link or magic link in it leads out (CVE-2021-30465, CVE-2024-45310).
func (a assembler) openat2(dir plan.Reg, path string, flags uint64, text string, mode uint32, object string) plan.Reg {
	r := a.Reg("fd:" + object)
	d := plan.CWD
	if dir != plan.None {
		d = plan.R(dir)
	}
	path = a.relative(path)
	resolve := uint64(unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS)
	text += ", IN_ROOT|NO_MAGICLINKS"
	if a.strict {
		resolve |= unix.RESOLVE_NO_SYMLINKS
		text += "|NO_SYMLINKS"
	}
	how := a.Words("{"+text+"}", flags|unix.O_CLOEXEC, uint64(mode), resolve)
	a.Call(unix.SYS_OPENAT2, "openat2", object, d, a.Str(path), how, plan.Int(24)).To(r)
	return r
}

func (a assembler) write(fd plan.Reg, data []byte, object string) *plan.Step {
	text := quotedStart(data)
	return a.Call(unix.SYS_WRITE, "write", object, plan.R(fd), a.Bytes(data, text), plan.Int(len(data))).Wanting(len(data))
}

func quotedStart(data []byte) string {
	const most = 32
	if len(data) > most {
		return quotePath(string(data[:most])) + "…"
	}
	return `"` + escape(strings.TrimSuffix(string(data), "\n")) + `"`
}

// setIDs becomes somebody else. The memory is the launch's: a change of ids has it be as dumpable as fs.suid_dumpable says (commit_creds in kernel/cred.c), and with 1 whoever has the same ids might write to it.
func (a assembler) setIDs(uid, gid uint32) {
	g, u := plan.Int(gid), plan.Int(uid)
	a.Call(unix.SYS_SETRESGID, "setresgid", "process", g, g, g)
	a.Call(unix.SYS_SETRESUID, "setresuid", "process", u, u, u)
	a.dumpable(0)
}

// assume is setIDs for the job's ids and capabilities. The others are kept until the memory is closed to those who have as few: nobody traces a process that can do more (ptrace(2)).
func (a assembler) assume(uid, gid uint32, caps uint64) {
	a.prctl(unix.PR_SET_KEEPCAPS, "PR_SET_KEEPCAPS", plan.Int(1))
	a.setIDs(uid, gid)
	a.setCaps(caps)
}

func (a assembler) setGroups(groups []uint32) {
	buf := make([]byte, 0, 4*len(groups)+4)
	for _, g := range groups {
		buf = binary.NativeEndian.AppendUint32(buf, g)
	}
	buf = append(buf, 0, 0, 0, 0)
	a.Call(unix.SYS_SETGROUPS, "setgroups", "process", plan.Int(len(groups)), a.Bytes(buf, "groups"))
}

// setCaps sets the permitted, effective and inheritable sets.
func (a assembler) setCaps(mask uint64) {
	head := make([]byte, 8)
	binary.NativeEndian.PutUint32(head, unix.LINUX_CAPABILITY_VERSION_3)
	data := make([]byte, 24)
	for i := range 3 {
		binary.NativeEndian.PutUint32(data[4*i:], uint32(mask))
		binary.NativeEndian.PutUint32(data[12+4*i:], uint32(mask>>32))
	}
	a.Call(unix.SYS_CAPSET, "capset", "process", a.Bytes(head, "{v3}"), a.Bytes(data, capsText(mask)))
}

func capsText(mask uint64) string {
	if mask == 0 {
		return "{none}"
	}
	return "{some}"
}

func (a assembler) noNewPrivs() {
	a.prctl(unix.PR_SET_NO_NEW_PRIVS, "PR_SET_NO_NEW_PRIVS", plan.Int(1))
}
