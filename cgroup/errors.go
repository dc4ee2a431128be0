package cgroup

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// Sentinels a caller may decide by. The errno stays reachable next to them.
var (
	// ErrUnsupported matches every *UnsupportedError: this host, or this
	// process on it, cannot do what was asked.
	ErrUnsupported = errors.New("cgroup: not supported here")
	// ErrInvalid matches every *InvalidError: no host could do what was asked.
	ErrInvalid = errors.New("cgroup: invalid")
	// ErrClosed is returned by methods of a handle after Delete or Close.
	ErrClosed = errors.New("cgroup: closed")
)

// Error is an operation on a control group which the kernel refused.
type Error struct {
	Op   string // mkdir, rmdir, open, read, write, kill, freeze ...
	Path string // absolute path
	Data string // what was written, if anything
	Err  error  // the errno, for errors.Is
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op + " " + e.Path)
	if e.Data != "" {
		b.WriteString(" " + strconv.Quote(e.Data))
	}
	b.WriteString(": " + e.Err.Error())
	if r := e.Remedy(); r != "" {
		b.WriteString(" (" + r + ")")
	}
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

// Is makes a limit whose file does not exist match ErrUnsupported.
func (e *Error) Is(target error) bool {
	return target == ErrUnsupported && e.Op == "write" && e.Err == error(syscall.ENOENT)
}

// Remedy says what usually causes this error and what to do, or "".
func (e *Error) Remedy() string {
	is := func(n syscall.Errno) bool { return errors.Is(e.Err, n) }
	file := e.Path[strings.LastIndexByte(e.Path, '/')+1:]
	switch {
	case is(syscall.EBUSY) && file == "cgroup.subtree_control":
		return "a v2 group with member processes can give its children no controllers: move the processes into a child group first"
	case is(syscall.EBUSY) && e.Op == "rmdir":
		return "processes are still inside: kill the group first"
	case is(syscall.EBUSY) && strings.HasPrefix(file, "memory."):
		return "the group uses more than that already and it cannot be reclaimed"
	case is(syscall.ENOENT) && file == "cgroup.subtree_control":
		return "a controller is not enabled in the group above: see its cgroup.controllers"
	case is(syscall.ENOENT) && strings.HasPrefix(file, "hugetlb."):
		return "this machine has no huge pages of that size: see /sys/kernel/mm/hugepages"
	case is(syscall.ENOENT) && e.Op == "write":
		return "the controller is not enabled for this group, or the kernel was built without this file"
	case strings.HasPrefix(file, "cpuset.") && (is(syscall.EACCES) && e.Op == "write" && os.Geteuid() == 0 || is(syscall.EINVAL) || is(syscall.ERANGE)):
		return "not all of them exist, or the group above has less: see its " + file
	case strings.HasPrefix(file, "cpuset.") && is(syscall.EBUSY):
		return "a group below uses some that would be taken away"
	case is(syscall.ENODEV) && (strings.HasPrefix(file, "io.") || strings.HasPrefix(file, "blkio.")):
		return "there is no such disk: lsblk -o PATH,MAJ:MIN lists them; partitions cannot be named"
	case is(syscall.EOPNOTSUPP) && strings.Contains(file, "weight"):
		return "the device is not shared by weight: echo bfq > /sys/block/DISK/queue/scheduler, or on v2 enable iocost (io.cost.qos)"
	case is(syscall.EINVAL) && file == "cpu.cfs_quota_us":
		return "v1 allows a group no more CPU than the group above it has"
	case is(syscall.EINVAL) && file == "memory.memsw.limit_in_bytes":
		return "memory and swap together cannot be less than memory alone"
	case is(syscall.EAGAIN) && e.Op == "mkdir":
		return "cgroup.max.descendants or cgroup.max.depth of a group above is reached"
	case is(syscall.EACCES), is(syscall.EPERM):
		return remedyDelegate
	case is(syscall.EROFS):
		return remedyReadOnly
	}
	return ""
}

const (
	remedyDelegate = "the group is not delegated to this user: run as root, or under systemd-run --user --scope -p Delegate=yes"
	remedyReadOnly = "the cgroup file system is mounted read-only: inside a container it must be given read-write"
	remedyInner    = "move the processes of this group into a child group first, or start the program under systemd-run --scope -p Delegate=yes"
)

// UnsupportedError is something this host, or this process on it, cannot do.
// It matches ErrUnsupported.
type UnsupportedError struct {
	Feature string   // what was asked for: "pids limit"
	Reason  string   // why it cannot be had
	Remedy  string   // what to do about it, may be empty
	Err     error    // the errno behind it, may be nil
	Fields  []string // the fields of Limits which it is about, see FieldsOf
}

func (e *UnsupportedError) Error() string {
	s := "cgroup: " + e.Feature + ": " + e.Reason
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Remedy != "" && !strings.Contains(s, e.Remedy) { // Err may have said so
		s += " (" + e.Remedy + ")"
	}
	return s
}

// Is makes errors.Is(err, ErrUnsupported) true.
func (e *UnsupportedError) Is(target error) bool { return target == ErrUnsupported }

func (e *UnsupportedError) Unwrap() error { return e.Err }

// InvalidError is a value which makes no sense on any host. It matches
// ErrInvalid.
type InvalidError struct {
	Field  string // name of the field or argument
	Value  string // as given
	Reason string
}

func (e *InvalidError) Error() string {
	return "cgroup: " + e.Field + " " + strconv.Quote(e.Value) + ": " + e.Reason
}

// Is makes errors.Is(err, ErrInvalid) true.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// errDeadline ends a wait. It matches ETIMEDOUT, whose own text speaks of
// connections.
var errDeadline error = deadlineError{}

type deadlineError struct{}

func (deadlineError) Error() string { return "not done by the deadline" }

// Is makes errors.Is(err, syscall.ETIMEDOUT) true, and os.ErrDeadlineExceeded.
func (deadlineError) Is(target error) bool {
	return target == error(syscall.ETIMEDOUT) || target == os.ErrDeadlineExceeded
}

// Timeout is for os.IsTimeout and friends.
func (deadlineError) Timeout() bool { return true }
