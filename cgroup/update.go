package cgroup

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
		l.CPUWeight = 100
	}
	if o.Pids != 0 && l.Pids == 0 {
		l.Pids = Max
	}
	return l
}
