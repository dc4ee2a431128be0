package seccomp

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
)

// maxArgs bounds the conditions of a rule: a BPF jump skips at most 255 instructions, and a comparison takes up to 6.
const maxArgs = 32

// Validate finds what is wrong with a policy, without compiling it. The error is a *[PolicyError] about the first
// mistake: no default action or no rule ([ErrEmpty]), a name Linux does not have ([ErrUnknownCall]), rules that
// contradict each other ([ErrConflict]), values that mean nothing ([ErrInvalid]). A call that Linux has on other
// architectures only is no mistake; its rules have no effect here.
//
// Contradictory are: the same conditions with two actions; a rule that can never be reached because one without
// conditions and with another action stands before it; two conditions on one argument that no value meets. What is a
// contradiction on one architecture only is one everywhere.
func (p Policy) Validate() error {
	if p.broken != nil {
		return p.broken
	}
	if p.Default == 0 {
		return &PolicyError{Rule: -1, Reason: "no default action", Err: ErrEmpty}
	}
	if len(p.Rules) == 0 {
		return &PolicyError{Rule: -1, Reason: "no rule", Err: ErrEmpty}
	}
	if !p.Default.valid() {
		return &PolicyError{Rule: -1, Reason: "default: " + p.Default.String(), Err: ErrInvalid}
	}
	if !p.unknown().valid() {
		return &PolicyError{Rule: -1, Reason: "unknown: " + p.Unknown.String(), Err: ErrInvalid}
	}
	if why := p.Flags.check(p); why != "" {
		return &PolicyError{Rule: -1, Reason: why, Err: ErrInvalid}
	}
	for _, arch := range p.SubArches {
		if arch.main() == arch {
			return &PolicyError{Rule: -1, Reason: arch.String() + " is no sub-architecture", Err: ErrInvalid}
		}
	}
	for i, r := range p.Rules {
		if err := r.validate(i); err != nil {
			return err
		}
	}
	return p.conflicts()
}

func (r Rule) validate(i int) error {
	if len(r.Names) == 0 {
		return &PolicyError{Rule: i, Reason: "no name", Err: ErrInvalid}
	}
	for _, name := range r.Names {
		if !isCall(name) {
			return &PolicyError{Rule: i, Call: name, Err: ErrUnknownCall}
		}
	}
	call := r.Names[0]
	if !r.Action.valid() {
		return &PolicyError{Rule: i, Call: call, Reason: r.Action.String(), Err: ErrInvalid}
	}
	for _, arch := range r.Arches {
		if !slices.Contains(supported, arch) {
			return &PolicyError{Rule: i, Call: call, Reason: "for " + arch.String(), Err: ErrInvalid}
		}
	}
	if len(r.Args) > maxArgs {
		return &PolicyError{Rule: i, Call: call, Reason: fmt.Sprintf("%d comparisons, at most %d", len(r.Args), maxArgs), Err: ErrTooLarge}
	}
	for j, a := range r.Args {
		if why := a.check(); why != "" {
			return &PolicyError{Rule: i, Call: call, Reason: why, Err: ErrInvalid}
		}
		for _, b := range r.Args[:j] {
			if a.excludes(b) {
				return &PolicyError{Rule: i, Call: call, Reason: fmt.Sprintf("%s and %s", b, a), Err: ErrConflict}
			}
		}
	}
	return nil
}

// conflicts looks for rules of one call that contradict each other, on each architecture where they differ.
func (p Policy) conflicts() error {
	for _, arch := range p.distinct() {
		for name, rules := range p.byCall(arch) {
			if err := p.conflict(name, rules); err != nil {
				return err
			}
		}
	}
	return nil
}

// distinct are architectures on which the rules may differ: one for all where no rule is for some only.
func (p Policy) distinct() []Arch {
	if slices.ContainsFunc(p.Rules, func(r Rule) bool { return len(r.Arches) > 0 }) {
		return supported
	}
	return supported[:1]
}

func (p Policy) conflict(name string, rules []int) error {
	if len(rules) > maxInsns {
		return &PolicyError{Rule: rules[maxInsns], Call: name, Reason: fmt.Sprintf("%d rules for a call", len(rules)), Err: ErrTooLarge}
	}
	whole := -1               // the first rule without conditions
	first := map[string]int{} // the first rule with such conditions
	for _, i := range rules {
		before, key := whole, ""
		if whole < 0 && len(p.Rules[i].Args) > 0 {
			key = argsKey(p.Rules[i].Args)
			if at, ok := first[key]; ok {
				before = at
			}
		}
		a := p.Rules[i].Action
		if before >= 0 && p.Rules[before].Action != a {
			why := fmt.Sprintf("%s here, %s in rule %d", a, p.Rules[before].Action, before)
			return &PolicyError{Rule: i, Call: name, Reason: why, Err: ErrConflict}
		}
		if before < 0 && key != "" {
			first[key] = i
		} else if before < 0 {
			whole = i
		}
	}
	return nil
}

// byCall yields the calls in the order they are first named, each with the indices of its rules on an architecture.
func (p Policy) byCall(arch Arch) iter.Seq2[string, []int] {
	var order []string
	rules := map[string][]int{}
	for i, r := range p.Rules {
		if !r.on(arch) {
			continue
		}
		for _, name := range r.Names {
			have := rules[name]
			if len(have) == 0 {
				order = append(order, name)
			}
			if len(have) == 0 || have[len(have)-1] != i {
				rules[name] = append(have, i)
			}
		}
	}
	return func(yield func(string, []int) bool) {
		for _, name := range order {
			if !yield(name, rules[name]) {
				return
			}
		}
	}
}

// argsKey is one text for conditions, whatever their order and however often each stands there.
func argsKey(args []Arg) string {
	sorted := slices.Clone(args)
	slices.SortFunc(sorted, func(a, b Arg) int {
		return cmp.Or(cmp.Compare(a.Index, b.Index), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Value, b.Value), cmp.Compare(a.ValueTwo, b.ValueTwo))
	})
	return fmt.Sprint(slices.Compact(sorted))
}
