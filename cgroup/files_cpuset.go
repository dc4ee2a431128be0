package cgroup

// sets adds the writes to the cpuset controller. On v1 a group begins with no
// CPU and no memory node, and no process can enter it before it has both
// (cpusets(7)); on v2 it begins with all.
func (p *plan) sets(i, version int, name string, l Limits) {
	for _, s := range l.sets() {
		file := join(name, s.file)
		switch {
		case s.value == AllOfThem && version == 2:
			p.add(step{do: opWrite, at: i, rel: file, data: "\n"}) // nothing at all would not be written
		case s.value == AllOfThem, s.value == "" && version == 1 && !p.standing:
			p.add(step{do: opCopy, at: i, rel: file, data: above(name) + s.file})
		case s.value != "":
			p.add(step{do: opWrite, at: i, rel: file, data: s.text()})
		}
	}
}

// above is the way from directory i to the group above the one of that name in it.
func above(name string) string {
	if name == "" {
		return "../"
	}
	return ""
}

// inherit gives a group of v1 the CPUs and memory nodes of the one above.
func (p *plan) inherit(i int, name string) {
	for _, s := range (Limits{}).sets() {
		p.add(step{do: opCopy, at: i, rel: join(name, s.file), data: above(name) + s.file})
	}
}
