package cgroup

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

const (
	maxCPU  = 8191 // the largest NR_CPUS
	maxNode = 1023 // the largest MAX_NUMNODES, NODES_SHIFT 10
)

// idSet is a set of CPUs or nodes: ranges, ascending and apart.
type idSet [][2]int

// parseSet reads the kernel's list format, "0-2,7". An empty list is an empty
// set; white space around it does not count.
func parseSet(s string, most int) (idSet, error) {
	var set idSet
	s = strings.TrimSpace(s)
	if s == "" {
		return nil, nil
	}
	for _, part := range strings.Split(s, ",") {
		a, b, isRange := strings.Cut(part, "-")
		if !isRange {
			b = a
		}
		from, ok1 := parseUint([]byte(a))
		to, ok2 := parseUint([]byte(b))
		switch {
		case !ok1 || !ok2 || strings.TrimSpace(part) != part || strings.ContainsAny(part, " \t\n"):
			return nil, fmt.Errorf("%q is neither a number nor a range", part)
		case from > uint64(most) || to > uint64(most):
			return nil, fmt.Errorf("%q is beyond the kernel's %d", part, most)
		case from > to:
			return nil, fmt.Errorf("%q runs backwards", part)
		}
		set = append(set, [2]int{int(from), int(to)})
	}
	return set.normal(), nil
}

// normal sorts and joins the ranges.
func (s idSet) normal() idSet {
	slices.SortFunc(s, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
	var out idSet
	for _, r := range s {
		if n := len(out); n > 0 && r[0] <= out[n-1][1]+1 {
			out[n-1][1] = max(out[n-1][1], r[1])
			continue
		}
		out = append(out, r)
	}
	return out
}

// and is what both have.
func (s idSet) and(o idSet) idSet {
	var out idSet
	for _, a := range s {
		for _, b := range o {
			if from, to := max(a[0], b[0]), min(a[1], b[1]); from <= to {
				out = append(out, [2]int{from, to})
			}
		}
	}
	return out.normal()
}

// String is the set in the kernel's list format.
func (s idSet) String() string {
	var parts []string
	for _, r := range s {
		if r[0] == r[1] {
			parts = append(parts, itoa(r[0]))
		} else {
			parts = append(parts, itoa(r[0])+"-"+itoa(r[1]))
		}
	}
	return strings.Join(parts, ",")
}

func (l Limits) validateSets() error {
	for _, f := range l.sets() {
		if f.value == "" || f.value == AllOfThem {
			continue
		}
		set, err := parseSet(f.value, f.most)
		if err == nil && len(set) == 0 {
			err = fmt.Errorf("an empty list")
		}
		if err != nil {
			return &InvalidError{f.field, f.value, err.Error()}
		}
	}
	return nil
}

// sets are the two files of the cpuset controller.
func (l Limits) sets() [2]setLimit {
	return [2]setLimit{
		{"CPUSet", "cpuset.cpus", l.CPUSet, maxCPU, "CPUs"},
		{"MemoryNodes", "cpuset.mems", l.MemoryNodes, maxNode, "memory nodes"},
	}
}

type setLimit struct {
	field, file, value string
	most               int
	things             string
}

// text is what is written for a set.
func (s setLimit) text() string {
	set, _ := parseSet(s.value, s.most)
	return set.String()
}
