package cgroup

import (
	"path"
	"strconv"
)

// Op is one operation on the cgroup file system.
type Op struct {
	Call string // mkdir, open, write or copy
	Path string // absolute
	Data string // for write; for copy the file whose content is written
}

// String is the operation on one line: write /sys/fs/cgroup/a/pids.max "20".
func (o Op) String() string {
	s := o.Call + " " + o.Path
	if o.Data != "" {
		s += " " + strconv.Quote(o.Data)
	}
	return s
}

// Options of NewWith and NewOwner.
type Options struct {
	// Trace, if not nil, is called before every operation, those of the
	// manager's leaves and rollbacks of earlier ones not included. An error
	// from it takes the place of the operation's own: everything done so far
	// is undone. Called by the goroutine that asked for the group.
	Trace func(Op) error
	// Number, for NewOwner, tells the groups apart that one program has in
	// different places. 0 for the first.
	Number int
	// Accounts are set up beyond what the limits need, as far as the host has
	// them. 0 means DefaultAccounts, and IOController on v2, where it costs
	// no group of its own.
	Accounts Controllers
	// Shown: the processes of a leaf are to see, in a cgroup namespace of their
	// own, the limits that hold for them, see Manager.Shown. Leaves repeat the
	// sandbox's CPU time then, and on v1 there are groups for cpu and cpuset.
	Shown bool
}

func (o Options) accounts() accounts {
	a := accounts{v1: o.Accounts, v2: o.Accounts}
	if o.Accounts == 0 {
		a = accounts{v1: DefaultAccounts, v2: DefaultAccounts | IOController}
	}
	if o.Shown {
		a.v1 |= shownControllers
	}
	return a
}

// accounts are what is counted in hierarchies of v1 and of v2.
type accounts struct {
	v1, v2 Controllers
	// flatIO: the processes are in the sandbox's own group of v1's blkio. Rates
	// there bound the processes of one group, and not those of groups below
	// (throtl_pd_init in block/blk-throttle.c).
	flatIO bool
}

func (a accounts) in(d Dir) Controllers {
	if d.Version == 2 {
		return a.v2 & d.Controllers
	}
	return a.v1 & d.Controllers
}

// with has what limits on a device need: they come with its accounts.
func (a accounts) with(l Limits) accounts {
	io := l.Controllers() & IOController
	return accounts{a.v1 | io, a.v2 | io, a.flatIO || l.hasRates()}
}

// leaves are the controllers of d for which a leaf has a group of its own
// without limits of its own. Every further hierarchy of v1 would cost each
// command a mkdir, an rmdir and an open.
func (a accounts) leaves(d Dir) Controllers {
	const counted = MemoryController | CPUAcctController | PidsController | IOController
	if d.Version == 2 {
		return a.v2 & d.Controllers & counted &^ coreV2
	}
	if a.flatIO {
		a.v1 &^= IOController
	}
	return d.Controllers & (leafV1 | a.v1&IOController)
}

// Plan lists the operations of New, in order, and changes nothing. It reads
// nothing either, so it works for a Parent of another host.
func (l Limits) Plan(parent Parent, name string) ([]Op, error) {
	p, err := planGroup(parent, name, l, Options{}.accounts())
	if err != nil {
		return nil, err
	}
	return p.ops(parent.Dirs), nil
}

// purpose of an opened file
type purpose uint8

const (
	opMkdir     purpose = iota
	opWrite             // open, write, close
	opOpenDir           // keep as the group's directory
	opOpenTasks         // keep as the file through which a process enters (v1)
	opCopy              // read data, write it to rel
)

// step is an operation in the directory dirs[at]; rel is relative to it.
type step struct {
	do        purpose
	at        int
	rel, data string
	// orElse replaces the step when the file does not exist, and note is then
	// worth telling.
	orElse *step
	note   string
	// optional: without the file there is nothing to be done.
	optional bool
	// elsewhere: orElse also replaces the step where the kernel says
	// EOPNOTSUPP, of a device that another scheduler serves.
	elsewhere bool
}

func (s *step) op(dirs []Dir) Op {
	op := Op{Call: "open", Path: path.Join(dirs[s.at].Path, s.rel), Data: s.data}
	switch s.do {
	case opMkdir:
		op.Call = "mkdir"
	case opWrite:
		op.Call = "write"
	case opCopy:
		op.Call, op.Data = "copy", path.Join(dirs[s.at].Path, s.data)
	}
	return op
}

// plan makes one group in some of the directories it was planned for.
type plan struct {
	steps []step
	use   []Controllers // per directory: what the new group uses there; 0: no group
	notes []string
	// standing: the group is there already, and has what is not written.
	standing bool
}

func (p *plan) ops(dirs []Dir) []Op {
	var all []Op
	for i := range p.steps {
		all = append(all, p.steps[i].op(dirs))
	}
	return all
}

func (p *plan) add(s step) { p.steps = append(p.steps, s) }

// planGroup is the group of one sandbox.
func planGroup(parent Parent, name string, l Limits, acc accounts) (*plan, error) {
	if err := validName("name", name); err != nil {
		return nil, err
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	need := l.Controllers()
	if err := available(parent.Dirs, l); err != nil {
		return nil, err
	}
	acc = acc.with(l)
	p := &plan{use: make([]Controllers, len(parent.Dirs))}
	for i, d := range parent.Dirs {
		use := need&d.Controllers | acc.in(d)
		p.use[i] = use
		if use == 0 {
			continue
		}
		if d.Version == 1 { // mounted together: without CPUs nobody gets in
			p.use[i] |= d.Controllers & CPUSetController
		}
		below := use & acc.leaves(d) // whatever else a leaf gets only for a limit of its own
		if d.Version == 2 {
			if above := use & d.Pending; above != 0 {
				p.add(step{do: opWrite, at: i, rel: "../cgroup.subtree_control", data: above.enable()})
			}
			if missing := use &^ coreV2 &^ d.Enabled; missing != 0 {
				p.add(step{do: opWrite, at: i, rel: "cgroup.subtree_control", data: missing.enable()})
			}
		}
		p.add(step{do: opMkdir, at: i, rel: name})
		p.add(step{do: opOpenDir, at: i, rel: name})
		if err := p.limits(i, d, name, l); err != nil {
			return nil, err
		}
		switch {
		case d.Version == 2 && below != 0:
			p.add(step{do: opWrite, at: i, rel: name + "/cgroup.subtree_control", data: below.enable()})
		case d.Version == 1 && below == 0:
			p.add(step{do: opOpenTasks, at: i, rel: name + "/tasks"})
		}
	}
	if l.OOMGroup && versionOf(parent.Dirs, MemoryController) == 1 {
		p.notes = append(p.notes, "memory.oom.group does not exist on cgroup v1: the kernel's OOM killer picks one process, the rest of the command must be killed after it")
	}
	return p, nil
}

// planOwner hands the accounts down; controllers for limits follow when the
// first sandbox needs them.
func planOwner(base Parent, name string, acc accounts) (*plan, Parent) {
	p := &plan{}
	below := Parent{Dirs: make([]Dir, 0, len(base.Dirs))}
	for i, d := range base.Dirs {
		n := Dir{Version: d.Version, Controllers: d.Controllers, Path: d.Path + "/" + name}
		give := acc.in(d) &^ coreV2
		if d.Version == 2 {
			if missing := give &^ d.Enabled; missing != 0 {
				p.add(step{do: opWrite, at: i, rel: "cgroup.subtree_control", data: missing.enable()})
			}
			n.Enabled = give
			n.Pending = d.Controllers &^ coreV2 &^ d.Enabled &^ give
		}
		p.add(step{do: opMkdir, at: i, rel: name})
		p.add(step{do: opOpenDir, at: i, rel: name})
		if d.Version == 1 && d.Controllers.Has(CPUSetController) {
			p.inherit(i, name)
		}
		if d.Version == 2 && give != 0 {
			p.add(step{do: opWrite, at: i, rel: name + "/cgroup.subtree_control", data: give.enable()})
		}
		below.Dirs = append(below.Dirs, n)
	}
	return p, below
}

// leafOptions are what a leaf takes over from its sandbox.
type leafOptions struct {
	acc      accounts
	oomGroup bool
	// low and min: what protects the sandbox's memory is the leaves' to share.
	low, min bool
}

// planLeaf is one command's group within the manager's directories.
func planLeaf(dirs []Dir, name string, l Limits, o leafOptions) (*plan, error) {
	if err := validName("name", name); err != nil {
		return nil, err
	}
	need := l.Controllers()
	if need != 0 {
		if err := l.validateLeaf(); err != nil {
			return nil, err
		}
		if err := available(dirs, l); err != nil {
			return nil, err
		}
		if l.hasRates() && versionOf(dirs, IOController) == 1 && o.acc.flatIO {
			return nil, &UnsupportedError{
				Feature: "IO", Reason: "the sandbox has limits on devices, and cgroup v1 does not hold those of two groups, one below the other, together",
				Remedy: "give them to the sandbox alone, or to the leaves", Fields: []string{"IO"},
			}
		}
	}
	p := &plan{use: make([]Controllers, len(dirs)), steps: make([]step, 0, 2*len(dirs))}
	for i, d := range dirs {
		if d.Version == 1 && d.Controllers&need|o.acc.leaves(d) == 0 {
			continue
		}
		p.use[i] = d.Controllers
		if d.Version == 2 {
			p.use[i] &= coreV2 | d.Enabled | need
		}
		if missing := need & d.Controllers &^ coreV2 &^ d.Enabled; d.Version == 2 && missing != 0 {
			p.add(step{do: opWrite, at: i, rel: "cgroup.subtree_control", data: missing.enable()})
		}
		p.add(step{do: opMkdir, at: i, rel: name})
		switch {
		case need != 0:
			if err := p.limits(i, d, name, l); err != nil {
				return nil, err
			}
		case d.Version == 1 && d.Controllers.Has(CPUSetController):
			p.inherit(i, name)
		}
		switch {
		case d.Version == 1:
			p.add(step{do: opOpenTasks, at: i, rel: name + "/tasks"})
		default:
			if d.Controllers.Has(MemoryController) {
				p.leafMemory(i, name, o, l.OOMGroup)
			}
			p.add(step{do: opOpenDir, at: i, rel: name})
		}
	}
	return p, nil
}

func (p *plan) leafMemory(i int, name string, o leafOptions, oomGroup bool) {
	for _, f := range []struct {
		wanted     bool
		file, data string
	}{
		{o.oomGroup || oomGroup, "memory.oom.group", "1"},
		{o.low, "memory.low", "max"},
		{o.min, "memory.min", "max"},
	} {
		if f.wanted {
			p.add(step{do: opWrite, at: i, rel: name + "/" + f.file, data: f.data})
		}
	}
}

// available reports the first controller which the limits need and no
// directory has.
func available(dirs []Dir, l Limits) error {
	have := Parent{dirs}.Controllers()
	need := l.Controllers()
	for _, n := range controllerNames {
		if need.Has(n.c) && !have.Has(n.c) {
			return &UnsupportedError{
				Feature: n.v1 + " limit", Reason: "the " + n.v1 + " controller cannot be used here",
				Remedy: "see Host.Base for where it is lost on the way", Fields: l.lacking(n.c),
			}
		}
	}
	return nil
}

func versionOf(dirs []Dir, c Controllers) int {
	for _, d := range dirs {
		if d.Controllers.Has(c) {
			return d.Version
		}
	}
	return 0
}
