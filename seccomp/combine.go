package seccomp

import (
	"slices"
	"strings"
)

// Merge gives the policy that lets through what either lets through: for every call with every argument, and for unknown
// numbers, it takes the milder of the two actions. From mild to severe they are allow, log, notify, errno, trap, kill
// process, as the kernel ranks them; of two errors p's is taken. A flag is set where either sets it.
//
// The result holds no more than that, with rules of its own making: what depends on arguments in both becomes the
// product of both lists. Where that is far larger than any program, the result does not validate ([ErrTooLarge]): q may be
// a stranger's. Where p or q is not valid the result is that one, so that [Policy.Validate] and [Policy.Compile] say what
// is wrong with it; so it is with the result for policies of different SubArches ([ErrConflict]).
func (p Policy) Merge(q Policy) Policy {
	return p.combine(q, func(a, b Action) Action {
		if milder(b, a) {
			return b
		}
		return a
	}, p.Flags|q.Flags)
}

// Restrict gives the policy that lets through nothing that either denies: for every call with every argument, and for
// unknown numbers, it takes the severer of the two actions; see [Policy.Merge] for their order and the rest. It is what the kernel does with
// both filters, p loaded after q. SubArches are those of both; FlagSpecAllow is set where both set it, other flags where either does.
func (p Policy) Restrict(q Policy) Policy {
	return p.combine(q, func(a, b Action) Action {
		if milder(a, b) {
			return b
		}
		return a
	}, (p.Flags|q.Flags)&^FlagSpecAllow|p.Flags&q.Flags)
}

// milder tells whether a is of a milder kind than b. The kernel compares actions as signed numbers, without their data
// (seccomp(2), kernel/seccomp.c).
func milder(a, b Action) bool { return int32(a&actionMask) > int32(b&actionMask) }

func (p Policy) combine(q Policy, choose func(a, b Action) Action, flags Flags) Policy {
	if p.Validate() != nil {
		return p.Clone()
	}
	if q.Validate() != nil {
		return q.Clone()
	}
	out := Policy{Default: choose(p.Default, q.Default), Unknown: choose(p.unknown(), q.unknown())}
	if out.SubArches, out.broken = p.combineSubArches(q, choose(Allow, KillProcess) == KillProcess); out.broken != nil {
		return out
	}
	lists, work := newCallLists(), maxWork
	arches := Policy{Rules: append(slices.Clone(p.Rules), q.Rules...)}.distinct()
	for _, arch := range arches {
		left, right := p.lists(arch), q.lists(arch)
		for _, name := range slices.Concat(left.order, right.order) {
			if !lists.has(arch, name) {
				lists.add(arch, name, product(left.of(name, p.Default), right.of(name, q.Default), choose, &work))
			}
			if work < 0 {
				out.broken = &PolicyError{Rule: -1, Call: name, Reason: "combined with another policy's, the rules for " + name + " are too many", Err: ErrTooLarge}
				return out
			}
		}
	}
	out.Rules = lists.rules(arches, out.Default)
	if out.Flags = flags; !out.takes(Ask) {
		out.Flags &^= FlagWaitKillableRecv
	}
	return out
}

// combineSubArches gives those that both let in. Where the milder of two actions counts, one's rules would hold for a sub-architecture that the
// other kills all calls of, which is a policy for each architecture and not one.
func (p Policy) combineSubArches(q Policy, severe bool) (subs []Arch, err error) {
	for _, arch := range tabled {
		a, b := slices.Contains(p.SubArches, arch), slices.Contains(q.SubArches, arch)
		switch {
		case a && b:
			subs = append(subs, arch)
		case a != b && !severe:
			return nil, &PolicyError{Rule: -1, Reason: "merged with one that does not let in " + arch.String() + ", or the other way round", Err: ErrConflict}
		}
	}
	return subs, nil
}

// maxWork bounds how many pairs of rules are compared with each other when policies are combined: it takes well under
// a second, and hundreds of rules for each of many calls come nowhere near it.
const maxWork = 1 << 21

// ruleLists are the rules of each call on one architecture, in the order the calls are first named.
type ruleLists struct {
	order []string
	rules map[string][]Rule
}

func (p Policy) lists(arch Arch) ruleLists {
	l := ruleLists{rules: map[string][]Rule{}}
	for name, indices := range p.byCall(arch) {
		l.order = append(l.order, name)
		l.rules[name] = p.pick(indices)
	}
	return l
}

// of gives a call's rules, with one for the default action at the end.
func (l ruleLists) of(name string, otherwise Action) []Rule {
	return append(slices.Clone(l.rules[name]), Rule{Action: otherwise})
}

// product combines two lists, each of which ends with a rule without conditions. Pairs of rules are tried in the order
// of the first list, then of the second: the first pair of which both hold is made of the rules that decide in each. It
// stops when there is no work left to spend.
func product(a, b []Rule, choose func(a, b Action) Action, work *int) []Rule {
	var out []Rule
	for _, x := range a {
		with := b
		if !slices.ContainsFunc(b, func(y Rule) bool { return choose(x.Action, y.Action) != x.Action }) {
			with = []Rule{{Action: x.Action}} // whatever the other policy says
		}
		for _, y := range with {
			if *work--; *work < 0 {
				return out
			}
			args, ok := both(x.Args, y.Args)
			if !ok {
				continue
			}
			if *work -= len(out); reached(out, args) {
				continue
			}
			out = append(out, Rule{Action: choose(x.Action, y.Action), Args: args})
			if len(args) == 0 {
				return trimmed(out)
			}
		}
	}
	return trimmed(out)
}

// reached tells whether a rule before decides whatever meets the conditions.
func reached(before []Rule, args []Arg) bool {
	return slices.ContainsFunc(before, func(r Rule) bool {
		return !slices.ContainsFunc(r.Args, func(x Arg) bool {
			return !slices.ContainsFunc(args, func(y Arg) bool { return y.implies(x) })
		})
	})
}

// trimmed leaves out rules that do what the last one does, which has no conditions, if what they hold for comes to it
// without them.
func trimmed(rules []Rule) []Rule {
	last := rules[len(rules)-1]
	kept := rules[:0:0]
	for i, r := range rules[:len(rules)-1] {
		caught := func(later Rule) bool { return later.Action != last.Action && !apart(r.Args, later.Args) }
		if r.Action != last.Action || slices.ContainsFunc(rules[i+1:], caught) {
			kept = append(kept, r)
		}
	}
	return append(kept, last)
}

// callLists gathers rules by architecture and call, each list ending with a rule without conditions.
type callLists struct {
	order []string // calls as they came
	lists map[string]map[Arch][]Rule
}

func newCallLists() *callLists { return &callLists{lists: map[string]map[Arch][]Rule{}} }

func (c *callLists) has(arch Arch, name string) bool {
	_, ok := c.lists[name][arch]
	return ok
}

func (c *callLists) add(arch Arch, name string, rules []Rule) {
	if c.lists[name] == nil {
		c.lists[name] = map[Arch][]Rule{}
		c.order = append(c.order, name)
	}
	c.lists[name][arch] = rules
}

// rules makes of the lists what a policy holds: calls with the same rules share them, and what the default action says
// is left out, unless nothing else is said at all: a policy without a rule would not be valid.
func (c *callLists) rules(arches []Arch, otherwise Action) []Rule {
	var groups []*callGroup
	index := map[string]*callGroup{}
	put := func(name string, rules []Rule, on []Arch) {
		key := listKey(rules, on)
		if index[key] == nil {
			index[key] = &callGroup{rules: rules, on: on}
			groups = append(groups, index[key])
		}
		index[key].names = append(index[key].names, name)
	}
	for _, name := range c.order {
		for _, part := range c.byArch(name, arches, otherwise) {
			put(name, part.rules, part.on)
		}
	}
	var out []Rule
	for _, g := range groups {
		out = append(out, g.spread(otherwise)...)
	}
	if len(out) == 0 && len(c.order) > 0 {
		out = []Rule{{Names: slices.Clone(c.order), Action: otherwise}}
	}
	return out
}

// callGroup is calls that have the same rules on the same architectures.
type callGroup struct {
	names []string
	rules []Rule
	on    []Arch
}

// byArch gives a call's lists: one for all architectures, or one for each where they differ.
func (c *callLists) byArch(name string, arches []Arch, otherwise Action) []callGroup {
	first := c.list(name, arches[0], otherwise)
	same := !slices.ContainsFunc(arches, func(a Arch) bool {
		return listKey(c.list(name, a, otherwise), nil) != listKey(first, nil)
	})
	if same {
		return []callGroup{{rules: first}}
	}
	var parts []callGroup
	for _, arch := range arches {
		parts = append(parts, callGroup{rules: c.list(name, arch, otherwise), on: []Arch{arch}})
	}
	return parts
}

func (c *callLists) list(name string, arch Arch, otherwise Action) []Rule {
	if rules, ok := c.lists[name][arch]; ok {
		return rules
	}
	return []Rule{{Action: otherwise}}
}

// spread writes the group's rules for its calls.
func (g *callGroup) spread(otherwise Action) []Rule {
	var out []Rule
	for _, r := range g.rules {
		if len(r.Args) == 0 && r.Action == otherwise {
			break
		}
		out = append(out, Rule{Names: slices.Clone(g.names), Action: r.Action, Args: r.Args, Arches: slices.Clone(g.on)})
	}
	return Policy{Rules: out}.Clone().Rules
}

func listKey(rules []Rule, on []Arch) string {
	var b strings.Builder
	for _, r := range rules {
		b.WriteString(Rule{Action: r.Action, Args: r.Args, Arches: on}.String() + "\n")
	}
	return b.String()
}
