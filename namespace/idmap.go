package namespace

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// IDMap is one line of a user namespace's id map: Count ids from Inside on, as seen in
// the namespace, stand for as many ids from Outside on, as seen in its parent.
type IDMap struct {
	Inside, Outside, Count uint32
}

// String returns the line in the kernel's order: inside, outside, count.
func (m IDMap) String() string {
	return strconv.FormatUint(uint64(m.Inside), 10) + " " +
		strconv.FormatUint(uint64(m.Outside), 10) + " " +
		strconv.FormatUint(uint64(m.Count), 10)
}

// IDMaps is the map of all user ids, or of all group ids, of one user namespace.
type IDMaps []IDMap

const (
	// MaxExtents is how many lines the kernel takes in one map (Linux 4.15; 5 before).
	MaxExtents = 340

	// maxMapText is what the kernel takes in its one write: less than a page. Pages of 4
	// KiB are the smallest there are.
	maxMapText = 4096

	// noID is (uid_t)-1, which system calls read as "leave unchanged": it is no id, and
	// mistaking it for one has made root of nobody (CVE-2024-40635).
	noID = 1<<32 - 1
)

// MapError says what is wrong with a map of ids. It is an [fs.ErrInvalid].
type MapError struct {
	Index int   // the line at fault, from 0; -1 if it is the map as a whole
	Map   IDMap // that line
	Why   string
}

func (e *MapError) Error() string {
	if e.Index < 0 {
		return "id map: " + e.Why
	}
	return fmt.Sprintf("id map line %d (%s): %s", e.Index+1, e.Map, e.Why)
}

// Unwrap returns [fs.ErrInvalid].
func (e *MapError) Unwrap() error { return fs.ErrInvalid }

// Validate reports the first reason, as a [*MapError], for which the kernel would refuse
// the map or for which it would map an id that is none. An empty map is refused: under it
// every id is the overflow id.
func (m IDMaps) Validate() error {
	switch {
	case len(m) == 0:
		return &MapError{Index: -1, Why: "empty"}
	case len(m) > MaxExtents:
		return &MapError{Index: -1, Why: fmt.Sprintf("%d lines, the kernel takes %d", len(m), MaxExtents)}
	}
	for i, e := range m {
		if why := e.fault(); why != "" {
			return &MapError{Index: i, Map: e, Why: why}
		}
		for j, f := range m[:i] {
			if why := overlap(e, f); why != "" {
				return &MapError{Index: i, Map: e, Why: fmt.Sprintf("%s overlap those of line %d (%s)", why, j+1, f)}
			}
		}
	}
	if n := len(m.Text()); n >= maxMapText {
		return &MapError{Index: -1, Why: fmt.Sprintf("%d bytes of text, the kernel takes %d", n, maxMapText-1)}
	}
	return nil
}

// fault says what is wrong with one line by itself, or "".
func (m IDMap) fault() string {
	switch {
	case m.Count == 0:
		return "count is 0"
	case m.Inside == noID || m.Outside == noID:
		return "4294967295 is -1, which is no id"
	case uint64(m.Inside)+uint64(m.Count) > noID:
		return "ids inside run past 4294967294"
	case uint64(m.Outside)+uint64(m.Count) > noID:
		return "ids outside run past 4294967294"
	}
	return ""
}

// overlap says on which side two valid lines share an id, or "".
func overlap(a, b IDMap) string {
	meet := func(a, an, b, bn uint32) bool {
		return uint64(a) < uint64(b)+uint64(bn) && uint64(b) < uint64(a)+uint64(an)
	}
	switch {
	case meet(a.Inside, a.Count, b.Inside, b.Count):
		return "ids inside"
	case meet(a.Outside, a.Count, b.Outside, b.Count):
		return "ids outside"
	}
	return ""
}

// Text returns the map as it is written to /proc/PID/uid_map or gid_map, in a single
// write: a second one is refused.
func (m IDMaps) Text() string {
	var b strings.Builder
	for _, e := range m {
		b.WriteString(e.String())
		b.WriteByte('\n')
	}
	return b.String()
}

// MapToHost returns the id outside for which the id inside stands, and whether it is
// mapped. "Host" is the parent of the user namespace.
func (m IDMaps) MapToHost(inside uint32) (uint32, bool) {
	for _, e := range m {
		if n := inside - e.Inside; inside >= e.Inside && n < e.Count {
			return e.Outside + n, true
		}
	}
	return 0, false
}

// MapFromHost returns the id inside by which the id outside is seen, and whether it is
// mapped. Ids that are not mapped are seen as the overflow id, 65534.
func (m IDMaps) MapFromHost(outside uint32) (uint32, bool) {
	for _, e := range m {
		if n := outside - e.Outside; outside >= e.Outside && n < e.Count {
			return e.Inside + n, true
		}
	}
	return 0, false
}
