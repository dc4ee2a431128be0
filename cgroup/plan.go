package cgroup

import (
	"path"
	"strconv"
)

// Op is one operation on the cgroup file system.
type Op struct {
	Call string // mkdir, open or write
	Path string // absolute
	Data string // for write
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
	// them. 0 means DefaultAccounts.
	Accounts Controllers
}

func (o Options) accounts() Controllers {
	if o.Accounts == 0 {
		return DefaultAccounts
	}
	return o.Accounts
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
}

func (s *step) op(dirs []Dir) Op {
	call := "open"
	switch s.do {
	case opMkdir:
		call = "mkdir"
	case opWrite:
		call = "write"
	}
	return Op{Call: call, Path: path.Join(dirs[s.at].Path, s.rel), Data: s.data}
}

// plan makes one group in some of the directories it was planned for.
type plan struct {
	steps []step
	use   []Controllers // per directory: what the new group uses there; 0: no group
	notes []string
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
func planGroup(parent Parent, name string, l Limits, accounts Controllers) (*plan, error) {
	if err := validName("name", name); err != nil {
		return nil, err
	}
	if err := l.Validate(); err != nil {
		return nil, err
	}
	need := l.Controllers()
	if err := available(parent.Dirs, need); err != nil {
		return nil, err
	}
	p := &plan{use: make([]Controllers, len(parent.Dirs))}
	for i, d := range parent.Dirs {
		use := (need | accounts) & d.Controllers
		p.use[i] = use
		if use == 0 {
			continue
		}
		below := use &^ (coreV2 | CPUController) // a leaf gets a CPU group only for a quota of its own
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
		case d.Version == 1 && use&leafV1 == 0:
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
func planOwner(base Parent, name string, accounts Controllers) (*plan, Parent) {
	p := &plan{}
	below := Parent{Dirs: make([]Dir, 0, len(base.Dirs))}
	for i, d := range base.Dirs {
		n := Dir{Version: d.Version, Controllers: d.Controllers, Path: d.Path + "/" + name}
		give := accounts & d.Controllers &^ coreV2
		if d.Version == 2 {
			if missing := give &^ d.Enabled; missing != 0 {
				p.add(step{do: opWrite, at: i, rel: "cgroup.subtree_control", data: missing.enable()})
			}
			n.Enabled = give
			n.Pending = d.Controllers &^ coreV2 &^ d.Enabled &^ give
		}
		p.add(step{do: opMkdir, at: i, rel: name})
		p.add(step{do: opOpenDir, at: i, rel: name})
		if d.Version == 2 && give != 0 {
			p.add(step{do: opWrite, at: i, rel: name + "/cgroup.subtree_control", data: give.enable()})
		}
		below.Dirs = append(below.Dirs, n)
	}
	return p, below
}

// planLeaf is one command's group within the manager's directories.
func planLeaf(dirs []Dir, name string, l Limits, oomGroup bool) (*plan, error) {
	if err := validName("name", name); err != nil {
		return nil, err
	}
	need := Controllers(0)
	if l != (Limits{}) {
		if err := l.Validate(); err != nil {
			return nil, err
		}
		need = l.Controllers()
		if err := available(dirs, need); err != nil {
			return nil, err
		}
	}
	p := &plan{use: make([]Controllers, len(dirs)), steps: make([]step, 0, 2*len(dirs))}
	for i, d := range dirs {
		if d.Version == 1 && d.Controllers&(leafV1|need) == 0 {
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
		if need != 0 {
			if err := p.limits(i, d, name, l); err != nil {
				return nil, err
			}
		}
		switch {
		case d.Version == 1:
			p.add(step{do: opOpenTasks, at: i, rel: name + "/tasks"})
		default:
			if (oomGroup || l.OOMGroup) && d.Controllers.Has(MemoryController) {
				p.add(step{do: opWrite, at: i, rel: name + "/memory.oom.group", data: "1"})
			}
			p.add(step{do: opOpenDir, at: i, rel: name})
		}
	}
	return p, nil
}

// available reports the first controller of need that no directory has.
func available(dirs []Dir, need Controllers) error {
	have := Parent{dirs}.Controllers()
	for _, n := range controllerNames {
		if need.Has(n.c) && !have.Has(n.c) {
			return &UnsupportedError{
				Feature: n.v1 + " limit", Reason: "the " + n.v1 + " controller cannot be used here",
				Remedy: "see Host.Base for where it is lost on the way",
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
