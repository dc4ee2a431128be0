package rootfs

import (
	"fmt"
	"io/fs"
	"strings"
)

// Op is one operation of a root: a [Base], [Layer], [Bind], [Tmpfs], [Proc], [Dev], [Device],
// [Mask], [Substitute], [ReadOnly], [File], [Dir] or [Symlink]. The interface is sealed.
//
// Directories that lead to an operation's path and the mount point itself are made if
// they are missing, with mode 0755 and root as the owner, where the root can be written
// to. In a read-only [Base] they have to exist.
type Op interface {
	// Path returns the absolute path inside the root at which the operation takes place.
	Path() string
	// Validate reports, as an [*Error], what is wrong with the operation by itself.
	Validate() error
	// String returns the operation in one line, with odd bytes quoted.
	String() string

	// verb names the operation in errors.
	verb() string
	// covers reports whether what was at and below Path before is hidden afterwards.
	covers() bool
}

// Base is the root itself: a directory of the host, mounted read-only with all that is
// mounted below it. It can only be the first operation.
type Base struct {
	Dir string // on the host, absolute
}

// Bind shows a file or directory of the host at a path inside the root. It is recursive,
// also in being read-only, and never takes back a nosuid, nodev, noexec or ro of the
// source's mount.
type Bind struct {
	Source string // on the host, absolute
	Target string // in the root
	Flags  Flags
}

// Tmpfs is an empty file system in memory. What is stored in it counts as memory of the
// job that stores it.
type Tmpfs struct {
	Target   string
	Size     int64       // bytes; 0 is DefaultTmpfsSize. The kernel rounds up to whole pages
	Inodes   int64       // files and directories; 0 is DefaultTmpfsInodes
	Mode     fs.FileMode // of its root directory: permissions and [fs.ModeSticky]; 0 is 0755
	JobOwned bool        // the root directory belongs to the job instead of to root
	ReadOnly bool        // nothing can be written once the root is complete
}

const (
	// DefaultTmpfsSize is how much a Tmpfs holds that does not say, in bytes.
	DefaultTmpfsSize = 256 << 20
	// DefaultTmpfsInodes is how many files a Tmpfs holds that does not say. Each costs the
	// kernel about a kilobyte, which counts as memory of the job.
	DefaultTmpfsInodes = 1 << 16
	// DefaultShmSize is the size of /dev/shm in a Dev that does not say, in bytes.
	DefaultShmSize = 64 << 20
)

// Proc is a proc file system of the sandbox's own pid namespace. Nothing but [Mask],
// [Substitute] and [ReadOnly] may follow at a path below it: programs rely on what they read
// there, and so do security modules (CVE-2019-16884, CVE-2025-52881).
type Proc struct {
	Target   string
	Hide     HidePID // what is shown of other processes
	PIDsOnly bool    // processes and nothing else: no meminfo, no sys (subset=pid, Linux 5.8)
}

// Dev is a small /dev: null, zero, full, random, urandom and tty of the host; the links fd,
// stdin, stdout, stderr and ptmx; and of its own pts, shm and mqueue.
type Dev struct {
	Target  string
	ShmSize int64 // bytes of shm; 0 is DefaultShmSize
}

// Mask hides a path behind an empty file or an empty read-only directory. A path that
// does not exist is left alone.
type Mask struct {
	Target string
}

// ReadOnly makes a path that is there already read-only, and what is mounted below it.
// With "/" it is the file system of the root alone, so that writable mounts in it stay
// writable. A path that does not exist is left alone.
type ReadOnly struct {
	Target string
}

// File is a regular file with the given content.
type File struct {
	Target   string
	Data     []byte
	Mode     fs.FileMode // permissions; 0 is 0644
	JobOwned bool        // belongs to the job instead of to root
}

// Dir is an empty directory, made if there is none.
type Dir struct {
	Target   string
	Mode     fs.FileMode // permissions and [fs.ModeSticky]; 0 is 0755
	JobOwned bool        // belongs to the job instead of to root
}

// Symlink is a symbolic link at Target that reads Link. When it is followed, it is
// followed inside the root.
type Symlink struct {
	Target string
	Link   string
}

// Path returns "/".
func (Base) Path() string { return "/" }

// Path returns the target.
func (o Bind) Path() string { return o.Target }

// Path returns the target.
func (o Tmpfs) Path() string { return o.Target }

// Path returns the target.
func (o Proc) Path() string { return o.Target }

// Path returns the target.
func (o Dev) Path() string { return o.Target }

// Path returns the target.
func (o Mask) Path() string { return o.Target }

// Path returns the target.
func (o ReadOnly) Path() string { return o.Target }

// Path returns the target.
func (o File) Path() string { return o.Target }

// Path returns the target.
func (o Dir) Path() string { return o.Target }

// Path returns the target.
func (o Symlink) Path() string { return o.Target }

func (Base) verb() string     { return "base" }
func (Bind) verb() string     { return "bind" }
func (Tmpfs) verb() string    { return "tmpfs" }
func (Proc) verb() string     { return "proc" }
func (Dev) verb() string      { return "dev" }
func (Mask) verb() string     { return "mask" }
func (ReadOnly) verb() string { return "read-only" }
func (File) verb() string     { return "file" }
func (Dir) verb() string      { return "dir" }
func (Symlink) verb() string  { return "symlink" }

func (Base) covers() bool     { return true }
func (Bind) covers() bool     { return true }
func (Tmpfs) covers() bool    { return true }
func (Proc) covers() bool     { return true }
func (Dev) covers() bool      { return true }
func (Mask) covers() bool     { return true }
func (ReadOnly) covers() bool { return false }
func (File) covers() bool     { return true }
func (Dir) covers() bool      { return false }
func (Symlink) covers() bool  { return true }

func (o Base) String() string { return "base " + quote(o.Dir) + " ro" }

func (o Bind) String() string {
	return line("bind", quote(o.Source), "on", quote(o.Target), o.Flags.String())
}

func (o Tmpfs) String() string {
	ro := ""
	if o.ReadOnly {
		ro = "ro"
	}
	return line("tmpfs on", quote(o.Target), fmt.Sprintf("size=%d inodes=%d mode=%04o", o.Bytes(), o.Files(), o.Perm()), owner(o.JobOwned), ro)
}

func (o Proc) String() string {
	text := "proc on " + quote(o.Target)
	for _, option := range o.Options() {
		text += " " + option
	}
	return text
}

func (o Dev) String() string {
	return fmt.Sprintf("dev on %s shm=%d", quote(o.Target), o.ShmBytes())
}

func (o Mask) String() string     { return "mask " + quote(o.Target) }
func (o ReadOnly) String() string { return "read-only " + quote(o.Target) }

func (o File) String() string {
	return line("file", quote(o.Target), byteCount(o.Data), fmt.Sprintf("mode=%04o", o.Perm()), owner(o.JobOwned))
}

func byteCount(data []byte) string { return fmt.Sprintf("%d bytes", len(data)) }

func (o Dir) String() string {
	return line("dir", quote(o.Target), fmt.Sprintf("mode=%04o", o.Perm()), owner(o.JobOwned))
}

func (o Symlink) String() string { return "symlink " + quote(o.Target) + " to " + quote(o.Link) }

// line joins the words that are not empty.
func line(words ...string) string {
	kept := words[:0]
	for _, w := range words {
		if w != "" {
			kept = append(kept, w)
		}
	}
	return strings.Join(kept, " ")
}

func owner(job bool) string {
	if job {
		return "job"
	}
	return ""
}
