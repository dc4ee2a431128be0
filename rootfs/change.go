package rootfs

import (
	"io/fs"
	"iter"
	"os"
	"strings"
)

// ChangeKind says what became of a path.
type ChangeKind uint8

const (
	// Added: the layers below have nothing at the path.
	Added ChangeKind = iota + 1
	// Changed: they have something else there.
	Changed
	// Removed: they have it, and the upper layer hides it.
	Removed
)

// String returns A, C or D, as docker diff prints them.
func (k ChangeKind) String() string {
	switch k {
	case Added:
		return "A"
	case Changed:
		return "C"
	case Removed:
		return "D"
	}
	return "?"
}

// Aspects are what a changed file differs in.
type Aspects uint8

const (
	// TypeChanged: it was, say, a directory and is a link now. Of a directory that became something else
	// nothing more is said: all that was in it is gone.
	TypeChanged Aspects = 1 << iota
	// ContentChanged: other bytes, another length, another target of a link, other numbers of a device.
	ContentChanged
	// ModeChanged: other permissions.
	ModeChanged
	// OwnerChanged: another user or group.
	OwnerChanged
	// TimesChanged: another time of modification. It is not looked at for directories, in which it changes
	// with every file.
	TimesChanged
	// AttrsChanged: other extended user attributes, or a file capability or access list there was not.
	AttrsChanged
)

var aspectNames = []string{"type", "content", "mode", "owner", "times", "attributes"}

// String names the aspects, with commas between them.
func (a Aspects) String() string {
	var set []string
	for i, n := range aspectNames {
		if a&(1<<i) != 0 {
			set = append(set, n)
		}
	}
	return strings.Join(set, ",")
}

// Change is one difference that an upper layer makes.
type Change struct {
	Kind ChangeKind
	// Path is absolute in the root. The bytes are those of the file system and may be anything but NUL.
	Path string
	// Mode is that of what is there now, with its type; of what was there, if it is removed.
	Mode fs.FileMode
	// What is set if Kind is Changed.
	What Aspects
}

// String returns the change in one line, such as "C /etc/passwd (content,times)", with odd bytes quoted.
func (c Change) String() string {
	s := c.Kind.String() + " " + quote(c.Path)
	if c.Kind == Changed {
		s += " (" + c.What.String() + ")"
	}
	return s
}

// Delta is an upper layer and what it lies over.
type Delta struct {
	// Upper is the layer that was written to, a directory of the host.
	Upper string
	// At is the same, open, where there is no path to it; it comes before Upper and stays the caller's.
	At *os.File
	// Lowers are the layers below it, the lowest first.
	Lowers []string
	// Skip are paths of the root that are left out, with all below.
	Skip []string
	// Owner turns the ids of files in the upper layer into those that they would have in the layers below; nil: they are the same.
	Owner func(uid, gid uint32) (uint32, uint32)
}

// Diff returns what an upper layer changes in the layers below it, the lowest first. See [Delta.Changes].
func Diff(upper string, lowers ...string) iter.Seq2[Change, error] {
	return Delta{Upper: upper, Lowers: lowers}.Changes()
}

// Changes lists what the upper layer changes. A directory comes before what is in it; otherwise the order is that of the file system. What is removed or replaced as
// a whole is named once. A file that is in the upper layer and equals the one below is no change.
//
// The layers are walked by descriptors, with the caller's rights: no link is followed, nothing is opened but directories and, to compare
// contents of one length, regular files; a FIFO or a device never blocks it. Memory is bounded by the depth of the tree, descriptors by the number
// of layers. What cannot be read is an error beside the [Change] that has its path, and the walk goes on; an error without a path ends it. While a job writes,
// what is listed is of no single moment, and directories that are moved meanwhile may end the walk with ESTALE.
func (d Delta) Changes() iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) { d.walk(&lister{d: d, yield: yield}) }
}

// skips tells whether a path is left out.
func (d Delta) skips(path string) bool {
	for _, s := range d.Skip {
		if path == s {
			return true
		}
	}
	return false
}
