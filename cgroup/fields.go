package cgroup

import (
	"errors"
	"slices"
	"strings"
)

// field is one field of Limits, and what it needs.
type field struct {
	name  string
	needs Controllers
	set   func(l *Limits) bool
	clear func(l *Limits)
}

// limitFields are all fields of Limits. A field whose lack makes another
// pointless clears that too.
var limitFields = []field{
	{"Memory", MemoryController, func(l *Limits) bool { return l.Memory != 0 }, func(l *Limits) { l.Memory, l.Swap, l.OOMGroup = 0, 0, false }},
	{"MemoryHigh", MemoryController, func(l *Limits) bool { return l.MemoryHigh != 0 }, func(l *Limits) { l.MemoryHigh = 0 }},
	{"MemoryLow", MemoryController, func(l *Limits) bool { return l.MemoryLow != 0 }, func(l *Limits) { l.MemoryLow = 0 }},
	{"MemoryMin", MemoryController, func(l *Limits) bool { return l.MemoryMin != 0 }, func(l *Limits) { l.MemoryMin = 0 }},
	{"Swap", MemoryController, func(l *Limits) bool { return l.Swap != 0 }, func(l *Limits) { l.Swap = 0 }},
	{"CPUs", CPUController, func(l *Limits) bool { return l.CPUs != 0 }, func(l *Limits) { l.CPUs = 0 }},
	{"CPUWeight", CPUController, func(l *Limits) bool { return l.CPUWeight != 0 }, func(l *Limits) { l.CPUWeight = 0 }},
	{"CPUSet", CPUSetController, func(l *Limits) bool { return l.CPUSet != "" }, func(l *Limits) { l.CPUSet = "" }},
	{"MemoryNodes", CPUSetController, func(l *Limits) bool { return l.MemoryNodes != "" }, func(l *Limits) { l.MemoryNodes = "" }},
	{"Pids", PidsController, func(l *Limits) bool { return l.Pids != 0 }, func(l *Limits) { l.Pids = 0 }},
	{"IO", IOController, func(l *Limits) bool { return len(l.IO) > 0 }, func(l *Limits) { l.IO = nil }},
	{"IOWeight", IOController, func(l *Limits) bool { return l.IOWeight != 0 }, func(l *Limits) { l.IOWeight = 0 }},
	{"Hugepages", HugetlbController, func(l *Limits) bool { return len(l.Hugepages) > 0 }, func(l *Limits) { l.Hugepages = nil }},
	{"OOMGroup", MemoryController, func(l *Limits) bool { return l.OOMGroup }, func(l *Limits) { l.OOMGroup = false }},
}

// Controllers is what the limits need.
func (l Limits) Controllers() Controllers {
	var c Controllers
	for i := range limitFields {
		if f := &limitFields[i]; c&f.needs == 0 && f.set(&l) {
			c |= f.needs
		}
	}
	return c
}

// Fields names the fields that are set.
func (l Limits) Fields() []string {
	var names []string
	for _, f := range limitFields {
		if f.set(&l) {
			names = append(names, f.name)
		}
	}
	return names
}

// Without is l with the named fields unset, and with them what makes no sense
// without them: Swap and OOMGroup go with Memory.
func (l Limits) Without(names ...string) Limits {
	for _, f := range limitFields {
		if slices.Contains(names, f.name) {
			f.clear(&l)
		}
	}
	return l
}

// lacking names the fields of l that need one of the controllers.
func (l Limits) lacking(c Controllers) []string {
	var names []string
	for _, f := range limitFields {
		if f.needs&c != 0 && f.set(&l) {
			names = append(names, f.name)
		}
	}
	return names
}

// fieldsOf names every field that needs one of the controllers.
func fieldsOf(c Controllers) []string {
	var names []string
	for _, f := range limitFields {
		if f.needs&c != 0 {
			names = append(names, f.name)
		}
	}
	return names
}

// FieldsOf names the fields of Limits that an error of this package is about:
// those which cannot be had here, one of which had a bad value, or what the
// kernel refused to write. It is nil for an error that has nothing to do with a
// limit, or with all of them alike.
func FieldsOf(err error) []string {
	var invalid *InvalidError
	var lack *UnsupportedError
	var parent *ParentError
	var op *Error
	switch {
	case errors.As(err, &invalid):
		return []string{invalid.Field}
	case errors.As(err, &parent):
		return fieldsOf(parseV2Controllers(parent.Controller) | parseV1Controllers(parent.Controller))
	case errors.As(err, &lack) && len(lack.Fields) > 0:
		return lack.Fields
	case errors.As(err, &op):
		return op.fields()
	}
	return nil
}

// names are the controllers of an error to enable some: "cpu" of "+cpu".
func (e *Error) names() string { return strings.ReplaceAll(e.Data, "+", "") }

// fields goes by the file that could not be written.
func (e *Error) fields() []string {
	file := e.Path[strings.LastIndexByte(e.Path, '/')+1:]
	if file == "cgroup.subtree_control" {
		return fieldsOf(parseV2Controllers(e.names()))
	}
	for _, f := range limitFiles {
		if strings.HasPrefix(file, f.prefix) {
			return []string{f.field}
		}
	}
	return nil
}

// limitFiles are the beginnings of the names of files that hold limits.
var limitFiles = []struct{ prefix, field string }{
	{"memory.max", "Memory"},
	{"memory.limit_in_bytes", "Memory"},
	{"memory.high", "MemoryHigh"},
	{"memory.low", "MemoryLow"},
	{"memory.min", "MemoryMin"},
	{"memory.swap.max", "Swap"},
	{"memory.memsw.limit_in_bytes", "Swap"},
	{"memory.swappiness", "Swap"},
	{"memory.oom.group", "OOMGroup"},
	{"cpu.max", "CPUs"},
	{"cpu.cfs_", "CPUs"},
	{"cpu.weight", "CPUWeight"},
	{"cpu.shares", "CPUWeight"},
	{"cpuset.cpus", "CPUSet"},
	{"cpuset.mems", "MemoryNodes"},
	{"pids.max", "Pids"},
	{"io.max", "IO"},
	{"blkio.throttle.", "IO"},
	{"io.weight", "IOWeight"},
	{"io.bfq.weight", "IOWeight"},
	{"blkio.bfq.weight", "IOWeight"},
	{"blkio.weight", "IOWeight"},
	{"hugetlb.", "Hugepages"},
}
