package seccomp

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// entry is one of the profile's syscalls.
type entry struct {
	place
	names    []value[string]
	action   actionFields
	args     []argEntry
	includes constraints
	excludes constraints
}

type argEntry struct {
	place
	index, value, valueTwo value[uint64]
	op                     value[string]
}

type constraints struct {
	caps, arches []value[string]
	minKernel    value[string]
}

func (p *parser) entry() error {
	e := entry{place: p.here()}
	var single, comment value[string]
	err := p.object(map[string]func() error{
		"name":     p.wordField(&single), // the older form
		"names":    p.wordsField(&e.names),
		"action":   p.wordField(&e.action.action),
		"errnoRet": p.numberField(&e.action.errnoRet),
		"errno":    p.wordField(&e.action.errno),
		"args":     func() error { return p.list(func() error { return p.condition(&e) }) },
		"includes": func() error { return p.constraints(&e.includes) },
		"excludes": func() error { return p.constraints(&e.excludes) },
		"comment":  p.wordField(&comment),
	})
	if single.v != "" {
		e.names = append(e.names, single)
	}
	p.entries = append(p.entries, e)
	return err
}

func (p *parser) condition(e *entry) error {
	c := argEntry{place: p.here()}
	err := p.object(map[string]func() error{
		"index":    p.numberField(&c.index),
		"value":    p.numberField(&c.value),
		"valueTwo": p.numberField(&c.valueTwo),
		"op":       p.wordField(&c.op),
	})
	e.args = append(e.args, c)
	return err
}

func (p *parser) constraints(c *constraints) error {
	return p.object(map[string]func() error{
		"caps":      p.wordsField(&c.caps),
		"arches":    p.wordsField(&c.arches),
		"minKernel": p.wordField(&c.minKernel),
	})
}

// rules makes of an entry what a Policy holds: no rule where its constraints leave the target out, several where its
// conditions are alternatives. Everything is checked, also where nothing comes of it.
func (e entry) rules(t Target) ([]Rule, error) {
	if len(e.names) == 0 {
		return nil, &at{e.place, fmt.Errorf("%w: no name", ErrInvalid)}
	}
	act, err := e.action.read()
	if err != nil {
		return nil, e.placed(err)
	}
	args, err := e.conditions()
	if err != nil {
		return nil, err
	}
	arches, err := e.onArches()
	if err != nil {
		return nil, err
	}
	applies, err := e.applies(t)
	if err != nil || !applies || arches != nil && len(arches) == 0 {
		return nil, err
	}
	names := make([]string, len(e.names))
	for i, n := range e.names {
		names[i] = n.v
	}
	if !repeats(args) {
		return []Rule{{Names: names, Action: act, Args: args, Arches: arches}}, nil
	}
	var rules []Rule
	for _, a := range args {
		rules = append(rules, Rule{Names: slices.Clone(names), Action: act, Args: []Arg{a}, Arches: slices.Clone(arches)})
	}
	return rules, nil
}

// placed gives an error without a place that of the entry.
func (e entry) placed(err error) error {
	if where, ok := err.(*at); ok && where.path == "" {
		return &at{e.place, where.err}
	}
	return err
}

// onArches gives the architectures the entry is for: nil for all there are tables for, empty for none of them.
func (e entry) onArches() ([]Arch, error) {
	for _, name := range slices.Concat(e.includes.arches, e.excludes.arches) {
		if !slices.Contains(goArches, name.v) {
			return nil, &at{name.place, fmt.Errorf("%w: architecture %q", ErrInvalid, clipped(name.v))}
		}
	}
	named := func(list []value[string], arch Arch) bool {
		return slices.ContainsFunc(list, func(v value[string]) bool { return v.v == arch.String() })
	}
	on := []Arch{}
	for _, arch := range supported {
		if (len(e.includes.arches) == 0 || named(e.includes.arches, arch)) && !named(e.excludes.arches, arch) {
			on = append(on, arch)
		}
	}
	if len(on) == len(supported) {
		return nil, nil
	}
	return on, nil
}

// applies decides the constraints on capabilities and kernel.
func (e entry) applies(t Target) (bool, error) {
	for _, c := range slices.Concat(e.includes.caps, e.excludes.caps) {
		if !strings.HasPrefix(c.v, "CAP_") {
			return false, &at{c.place, fmt.Errorf("%w: capability %q", ErrInvalid, clipped(c.v))}
		}
	}
	has := func(c value[string]) bool { return slices.Contains(t.Capabilities, c.v) }
	lacks := func(c value[string]) bool { return !has(c) }
	newEnough, err := reaches(t.Kernel, e.includes.minKernel, true)
	if err != nil {
		return false, err
	}
	tooNew, err := reaches(t.Kernel, e.excludes.minKernel, false)
	if err != nil {
		return false, err
	}
	return newEnough && !tooNew && !slices.ContainsFunc(e.includes.caps, lacks) && !slices.ContainsFunc(e.excludes.caps, has), nil
}

// reaches tells whether a kernel's version is at least another; where none is asked for, otherwise.
func reaches(kernel string, least value[string], otherwise bool) (bool, error) {
	if least.v == "" {
		return otherwise, nil
	}
	want, err := parseVersion(least.v)
	if err != nil {
		return false, &at{least.place, err}
	}
	have, err := parseVersion(kernel)
	return slices.Compare(have, want) >= 0, err
}

// parseVersion reads a version as profiles write it, "4.8".
func parseVersion(version string) ([]uint64, error) {
	first, second, ok := strings.Cut(version, ".")
	major, err := strconv.ParseUint(first, 10, 16)
	minor, err2 := strconv.ParseUint(second, 10, 16)
	if !ok || err != nil || err2 != nil {
		return nil, fmt.Errorf("%w: kernel version %q", ErrInvalid, clipped(version))
	}
	return []uint64{major, minor}, nil
}

var scmpActions = map[string]Action{
	"SCMP_ACT_ALLOW": Allow, "SCMP_ACT_LOG": Log, "SCMP_ACT_TRAP": Trap, "SCMP_ACT_NOTIFY": Ask,
	"SCMP_ACT_KILL": KillProcess, "SCMP_ACT_KILL_PROCESS": KillProcess, "SCMP_ACT_KILL_THREAD": KillProcess,
}

// read gives the action with its errno, which is EPERM unless given by number or by name.
func (f actionFields) read() (Action, error) {
	name := f.action
	if name.v != "SCMP_ACT_ERRNO" {
		a, ok := scmpActions[name.v]
		switch {
		case ok:
			return a, nil
		case name.v == "SCMP_ACT_TRACE":
			return 0, &at{name.place, fmt.Errorf("%w: action %q: there is no tracer", ErrUnsupported, name.v)}
		}
		return 0, &at{name.place, fmt.Errorf("%w: action %q", ErrInvalid, clipped(name.v))}
	}
	switch n := f.errnoRet; {
	case n.set && n.v > maxErrno:
		return 0, &at{n.place, fmt.Errorf("%w: errno %d is not in 0 to %d", ErrInvalid, n.v, maxErrno)}
	case n.set:
		return Errno(syscall.Errno(n.v)), nil
	case f.errno.v == "":
		return Errno(eperm), nil
	}
	e, ok := errnoByName(f.errno.v)
	if !ok {
		return 0, &at{f.errno.place, fmt.Errorf("%w: errno %q", ErrInvalid, clipped(f.errno.v))}
	}
	return Errno(e), nil
}

var scmpOps = map[string]Op{
	"SCMP_CMP_EQ": Equal, "SCMP_CMP_NE": NotEqual, "SCMP_CMP_LT": Less, "SCMP_CMP_LE": LessOrEqual,
	"SCMP_CMP_GT": Greater, "SCMP_CMP_GE": GreaterOrEqual, "SCMP_CMP_MASKED_EQ": MaskedEqual,
}

func (e entry) conditions() ([]Arg, error) {
	var args []Arg
	for _, c := range e.args {
		op, ok := scmpOps[c.op.v]
		switch {
		case !ok:
			return nil, &at{c.place, fmt.Errorf("%w: comparison %q", ErrInvalid, clipped(c.op.v))}
		case c.index.v > 5:
			return nil, &at{c.index.place, fmt.Errorf("%w: index %d is not in 0 to 5", ErrInvalid, c.index.v)}
		}
		a := Arg{Index: int(c.index.v), Op: op, Value: c.value.v}
		if op == MaskedEqual { // elsewhere profiles carry a second value without meaning
			a.ValueTwo = c.valueTwo.v
		}
		if why := a.check(); why != "" {
			return nil, &at{c.place, fmt.Errorf("%w: %s", ErrInvalid, why)}
		}
		args = append(args, a)
	}
	return args, nil
}

// repeats tells whether two conditions are about one argument.
func repeats(args []Arg) bool {
	for i, a := range args {
		if slices.ContainsFunc(args[:i], func(b Arg) bool { return a.Index == b.Index }) {
			return true
		}
	}
	return false
}

// goArches are the architectures of includes and excludes: Go's names, and those of Docker for what Go has not.
var goArches = []string{
	"386", "amd64", "arm", "arm64", "loong64", "loongarch64", "mips", "mips64", "mips64n32", "mipsel", "mipsel64", "mipsel64n32",
	"mipsle", "mips64le", "ppc", "ppc64", "ppc64le", "riscv64", "s390", "s390x", "x32", "x86", "parisc", "parisc64", "m68k", "sh", "sheb",
}
