package cgroup

import "slices"

// with is l with the fields that o sets.
func (l Limits) with(o Limits) Limits {
	if o.Memory != 0 {
		l.Memory, l.Swap = o.Memory, o.Swap
	} else if o.Swap != 0 {
		l.Swap = o.Swap
	}
	if o.MemoryHigh != 0 {
		l.MemoryHigh = o.MemoryHigh
	}
	if o.CPUs != 0 {
		l.CPUs = o.CPUs
	}
	if o.CPUWeight != 0 {
		l.CPUWeight = o.CPUWeight
	}
	if o.Pids != 0 {
		l.Pids = o.Pids
	}
	if o.MemoryLow != 0 {
		l.MemoryLow = o.MemoryLow
	}
	if o.MemoryMin != 0 {
		l.MemoryMin = o.MemoryMin
	}
	if o.CPUSet != "" {
		l.CPUSet = o.CPUSet
	}
	if o.MemoryNodes != "" {
		l.MemoryNodes = o.MemoryNodes
	}
	if o.IOWeight != 0 {
		l.IOWeight = o.IOWeight
	}
	l.IO, l.Hugepages = mergeIO(l.IO, o.IO), mergeHugepages(l.Hugepages, o.Hugepages)
	l.OOMGroup = l.OOMGroup || o.OOMGroup
	return l
}

// backFrom is l with a value for everything that o set, so that applying it
// undoes o.
func (l Limits) backFrom(o Limits) Limits {
	if o.Memory != 0 && l.Memory == 0 {
		l.Memory, l.Swap = Max, Max
	}
	if o.MemoryHigh != 0 && l.MemoryHigh == 0 {
		l.MemoryHigh = Max
	}
	if o.CPUs != 0 && l.CPUs == 0 {
		l.CPUs = Max
	}
	if o.CPUWeight != 0 && l.CPUWeight == 0 {
		l.CPUWeight = defaultWeight
	}
	if o.MemoryLow != 0 && l.MemoryLow == 0 {
		l.MemoryLow = Max
	}
	if o.MemoryMin != 0 && l.MemoryMin == 0 {
		l.MemoryMin = Max
	}
	if o.CPUSet != "" && l.CPUSet == "" {
		l.CPUSet = AllOfThem
	}
	if o.MemoryNodes != "" && l.MemoryNodes == "" {
		l.MemoryNodes = AllOfThem
	}
	if o.IOWeight != 0 && l.IOWeight == 0 {
		l.IOWeight = defaultWeight
	}
	l.IO, l.Hugepages = undoIO(l.IO, o.IO), undoHugepages(l.Hugepages, o.Hugepages)
	if o.Pids != 0 && l.Pids == 0 {
		l.Pids = Max
	}
	return l
}

// only is l with just the fields that o sets, and the devices and sizes that it
// names.
func (l Limits) only(o Limits) Limits {
	var unset []string
	for _, f := range limitFields {
		if !f.set(&o) {
			unset = append(unset, f.name)
		}
	}
	memory, swap, group := l.Memory, l.Swap, l.OOMGroup
	l = l.Without(unset...)
	if o.Memory != 0 || o.Swap != 0 { // v1 has one file for the sum
		l.Memory, l.Swap = memory, swap
	}
	l.OOMGroup = group && o.Memory != 0
	l.IO = slices.DeleteFunc(slices.Clone(l.IO), func(d IOLimit) bool {
		return !slices.ContainsFunc(o.IO, func(n IOLimit) bool { return n.Device == d.Device })
	})
	l.Hugepages = slices.DeleteFunc(slices.Clone(l.Hugepages), func(h HugepageLimit) bool {
		return !slices.ContainsFunc(o.Hugepages, func(n HugepageLimit) bool { return n.Size == h.Size })
	})
	return l
}
