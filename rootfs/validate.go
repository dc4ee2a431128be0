package rootfs

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Error says what is wrong with one operation. It is an [fs.ErrInvalid].
type Error struct {
	Index int    // place in the list, from 0; -1 if the operation was looked at by itself
	Op    string // "bind", "tmpfs", …
	Path  string // the path at fault, as given; of a bind it may be the source
	Why   string
}

func (e *Error) Error() string { return e.Op + " " + quote(e.Path) + ": " + e.Why }

// Unwrap returns [fs.ErrInvalid].
func (e *Error) Unwrap() error { return fs.ErrInvalid }

const (
	maxPath = 4095 // PATH_MAX without its NUL
	maxName = 255  // NAME_MAX
	// maxBytes is the largest size a tmpfs takes: more would overflow the page count that
	// the kernel makes of it.
	maxBytes = 1<<62 - 1
)

// Validate reports what is wrong with the root that the operations make, as an [*Error]:
// a fault of one of them; a first one that makes no root, or another one that does; two of
// them at the same path; one that hides an earlier one; one inside a file, or over a proc;
// a layer out of place; one that would make a file on the host.
func Validate(ops []Op) error {
	if len(ops) == 0 {
		return &Error{Index: -1, Op: "root", Path: "/", Why: "no operations"}
	}
	if !isRoot(ops[0]) {
		return fault(0, ops[0], "the first operation has to be the root, a base or a tmpfs on /")
	}
	return Check(ops)
}

// Check is [Validate] for a list that may be a part: it does without a root.
func Check(ops []Op) error {
	for i, op := range ops {
		if op == nil {
			return &Error{Index: i, Op: "op", Path: "", Why: "nil operation"}
		}
		if err := op.Validate(); err != nil {
			if e, ok := err.(*Error); ok {
				e.Index = i
			}
			return err
		}
		if i > 0 && isRoot(op) {
			return fault(i, op, "only the first operation can be the root")
		}
		if why := misplaced(ops[:i], op); why != "" {
			return fault(i, op, why)
		}
		for _, before := range ops[:i] {
			if why := conflict(before, op); why != "" {
				return fault(i, op, why)
			}
		}
		for _, why := range []string{strays(ops[:i], op), homeless(ops[:i], op)} {
			if why != "" {
				return fault(i, op, why)
			}
		}
	}
	return nil
}

func isRoot(op Op) bool {
	switch op := op.(type) {
	case Base:
		return true
	case Tmpfs:
		return op.Target == "/"
	}
	return false
}

// conflict says why b cannot follow a, both valid by themselves, or "".
func conflict(a, b Op) string {
	if isStack(a) || isStack(b) {
		return "" // see misplaced
	}
	amends := isAmend(b)
	ap, bp := a.Path(), b.Path()
	switch a.(type) {
	case Proc:
		if !amends && Within(bp, ap) && bp != ap {
			return "nothing is put into a proc file system"
		}
	case File, Device:
		if Within(bp, ap) && bp != ap {
			return "is inside " + a.String()
		}
	}
	switch {
	case ap == bp && a.verb() == b.verb():
		return "given twice"
	case amends && ap == bp:
		return "" // hiding or locking what was put there is their purpose
	case isRoot(a):
		return ""
	case ap == bp && !amends && !isAmend(a):
		return "takes the place of " + a.String()
	case b.covers() && !isAmend(b) && Within(ap, bp):
		return "hides " + a.String()
	}
	return ""
}

// strays says why op would leave something on the host, or "": it makes a file where an
// earlier operation shows a directory of the host that can be written to.
func strays(before []Op, op Op) string {
	switch op.(type) {
	case File, Dir, Symlink:
	default:
		return ""
	}
	var holder Op
	for _, b := range before {
		if b.covers() && !isAmend(b) && Within(op.Path(), b.Path()) && (holder == nil || Within(b.Path(), holder.Path())) {
			holder = b
		}
	}
	if b, ok := holder.(Bind); ok && b.Flags&BindReadOnly == 0 {
		return "would be made on the host, in what " + b.String() + " shows"
	}
	return ""
}

func isAmend(op Op) bool {
	switch op.(type) {
	case Mask, Substitute, ReadOnly:
		return true
	}
	return false
}

// Within reports whether the clean path name is dir or below it.
func Within(name, dir string) bool {
	return name == dir || dir == "/" || strings.HasPrefix(name, dir+"/")
}

func fault(i int, op Op, why string) *Error {
	return &Error{Index: i, Op: op.verb(), Path: op.Path(), Why: why}
}

// Validate reports a directory that is no absolute path.
func (o Base) Validate() error { return check(o, pathFault(o.Dir), o.Dir) }

// Validate reports a path that is none, and unknown flags. The source may be "/"; the
// target may not.
func (o Bind) Validate() error {
	if why := pathFault(o.Source); why != "" {
		return check(o, "source "+why, o.Source)
	}
	if o.Flags&^bindAll != 0 {
		return check(o, fmt.Sprintf("unknown flags %#x", uint8(o.Flags&^bindAll)), o.Target)
	}
	if o.Flags&BindOptional != 0 && o.Flags&BindCreate != 0 {
		return check(o, "a source that is made is not left out: optional and create contradict each other", o.Source)
	}
	return check(o, targetFault(o.Target), o.Target)
}

// Validate reports a path that is none and sizes and modes that make no sense.
func (o Tmpfs) Validate() error {
	why := pathFault(o.Target)
	switch {
	case why != "":
	case o.Size < 0 || o.Size > maxBytes:
		why = fmt.Sprintf("size %d is not between 0 and %d", o.Size, int64(maxBytes))
	case o.Inodes < 0 || o.Inodes > maxBytes:
		why = fmt.Sprintf("inodes %d is not between 0 and %d", o.Inodes, int64(maxBytes))
	default:
		why = modeFault(o.Mode, fs.ModePerm|fs.ModeSticky)
	}
	return check(o, why, o.Target)
}

// Validate reports a path that is none and an unknown way to hide.
func (o Proc) Validate() error {
	if _, ok := hideNames[o.Hide]; !ok {
		return check(o, fmt.Sprintf("unknown way to hide processes, %d", o.Hide), o.Target)
	}
	return check(o, targetFault(o.Target), o.Target)
}

// Validate reports a path that is none and a size that makes no sense.
func (o Dev) Validate() error {
	if o.ShmSize < 0 || o.ShmSize > maxBytes {
		return check(o, fmt.Sprintf("shm size %d is not between 0 and %d", o.ShmSize, int64(maxBytes)), o.Target)
	}
	return check(o, targetFault(o.Target), o.Target)
}

// Validate reports a path that is none.
func (o Mask) Validate() error { return check(o, targetFault(o.Target), o.Target) }

// Validate reports a path that is none.
func (o ReadOnly) Validate() error { return check(o, pathFault(o.Target), o.Target) }

// Validate reports a path that is none and a mode with more than permissions.
func (o File) Validate() error {
	if why := modeFault(o.Mode, fs.ModePerm); why != "" {
		return check(o, why, o.Target)
	}
	return check(o, targetFault(o.Target), o.Target)
}

// Validate reports a path that is none and a mode with more than permissions and the
// sticky bit.
func (o Dir) Validate() error {
	if why := modeFault(o.Mode, fs.ModePerm|fs.ModeSticky); why != "" {
		return check(o, why, o.Target)
	}
	return check(o, targetFault(o.Target), o.Target)
}

// Validate reports a path that is none and a link that cannot be made. The link may be
// relative and may contain "..", since it is followed inside the root.
func (o Symlink) Validate() error {
	switch {
	case o.Link == "":
		return check(o, "empty link", o.Target)
	case strings.ContainsRune(o.Link, 0):
		return check(o, "link contains a NUL byte", o.Link)
	case len(o.Link) > maxPath:
		return check(o, fmt.Sprintf("link of %d bytes, the kernel takes %d", len(o.Link), maxPath), o.Target)
	}
	return check(o, targetFault(o.Target), o.Target)
}

func check(op Op, why, at string) error {
	if why == "" {
		return nil
	}
	return &Error{Index: -1, Op: op.verb(), Path: at, Why: why}
}

// targetFault is pathFault for a path that cannot be the root.
func targetFault(p string) string {
	if p == "/" {
		return "cannot be the root"
	}
	return pathFault(p)
}

// pathFault says why p is no absolute, clean path, or "". Paths are never cleaned instead:
// what was meant by one with ".." depends on links (CVE-2024-45310).
func pathFault(p string) string {
	switch {
	case p == "":
		return "empty path"
	case strings.ContainsRune(p, 0):
		return "path contains a NUL byte"
	case p[0] != '/':
		return "path is not absolute"
	case len(p) > maxPath:
		return fmt.Sprintf("path of %d bytes, the kernel takes %d", len(p), maxPath)
	}
	for name := range strings.SplitSeq(p, "/") {
		if name == ".." {
			return `path contains ".."`
		}
		if len(name) > maxName {
			return fmt.Sprintf("name of %d bytes in path, the kernel takes %d", len(name), maxName)
		}
	}
	if path.Clean(p) != p {
		return "path is not clean, it should be " + quote(path.Clean(p))
	}
	return ""
}

func modeFault(m, allowed fs.FileMode) string {
	if m&^allowed == 0 {
		return ""
	}
	return fmt.Sprintf("mode %#o has bits beyond %#o; the sticky bit is fs.ModeSticky, and nothing here is setuid or setgid", uint32(m), uint32(allowed.Perm()))
}

// quote returns s as it is if it is plain, and quoted if it has anything in it that could
// be taken for something else in a line of text.
func quote(s string) string {
	q := strconv.Quote(s)
	if s == "" || strings.ContainsAny(s, " ") || q != `"`+s+`"` {
		return q
	}
	return s
}
