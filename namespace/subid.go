package namespace

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// SubIDRange is one line of /etc/subuid or /etc/subgid: ids from Start on that Owner, a
// user's name or number, may map into user namespaces with newuidmap or newgidmap
// (subuid(5)).
type SubIDRange struct {
	Owner        string
	Start, Count uint32
}

// SubIDs is the content of /etc/subuid or /etc/subgid.
type SubIDs []SubIDRange

// ParseSubIDs reads the text of /etc/subuid or /etc/subgid. Lines that are no ranges are
// left out, as newuidmap leaves them out, and named in the error, which is an
// [fs.ErrInvalid]: the ranges returned are good even if the error is not nil. Empty lines
// and lines that begin with # are comments.
func ParseSubIDs(text string) (SubIDs, error) {
	var (
		list SubIDs
		errs []error
	)
	n := 0
	for line := range strings.Lines(text) {
		n++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		r, err := parseSubID(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("line %d %q: %w", n, line, err))
			continue
		}
		list = append(list, r)
	}
	return list, errors.Join(errs...)
}

func parseSubID(line string) (SubIDRange, error) {
	field := strings.Split(line, ":")
	if len(field) != 3 || field[0] == "" {
		return SubIDRange{}, fmt.Errorf("not of the form owner:start:count: %w", fs.ErrInvalid)
	}
	start, err := strconv.ParseUint(field[1], 10, 32)
	if err != nil {
		return SubIDRange{}, fmt.Errorf("start is no id: %w", fs.ErrInvalid)
	}
	count, err := strconv.ParseUint(field[2], 10, 32)
	if err != nil || count == 0 || start+count > noID {
		return SubIDRange{}, fmt.Errorf("count is no number of ids: %w", fs.ErrInvalid)
	}
	return SubIDRange{Owner: field[0], Start: uint32(start), Count: uint32(count)}, nil
}

// Lookup returns the ranges that belong to the user of the given name or number, in the
// order of the file. An empty name matches nothing.
func (s SubIDs) Lookup(name string, uid uint32) SubIDs {
	var found SubIDs
	number := strconv.FormatUint(uint64(uid), 10)
	for _, r := range s {
		if r.Owner == name || r.Owner == number {
			found = append(found, r)
		}
	}
	return found
}

// Largest returns the range with the most ids, the first of them if there are several, and
// whether there is one at all.
func (s SubIDs) Largest() (SubIDRange, bool) {
	var best SubIDRange
	for _, r := range s {
		if r.Count > best.Count {
			best = r
		}
	}
	return best, best.Count > 0
}
