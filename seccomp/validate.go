package seccomp

import (
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
// conditions and with another action stands before it; two values required of one argument.
func (p Policy) Validate() error {
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
	if len(r.Args) > maxArgs {
		return &PolicyError{Rule: i, Call: call, Reason: fmt.Sprintf("%d comparisons, at most %d", len(r.Args), maxArgs), Err: ErrTooLarge}
	}
	for j, a := range r.Args {
		if why := a.check(); why != "" {
			return &PolicyError{Rule: i, Call: call, Reason: why, Err: ErrInvalid}
		}
		for _, b := range r.Args[:j] {
			if excludes(a, b) {
				return &PolicyError{Rule: i, Call: call, Reason: fmt.Sprintf("%s and %s", b, a), Err: ErrConflict}
			}
		}
	}
	return nil
}

// excludes tells whether two conditions want different values of the same bits.
func excludes(a, b Arg) bool {
	if a.Index != b.Index {
		return false
	}
	maskA, valueA, okA := a.bits()
	maskB, valueB, okB := b.bits()
	common := maskA & maskB
	return okA && okB && valueA&common != valueB&common
}

func (a Arg) bits() (mask, value uint64, ok bool) {
	switch a.Op {
	case Equal:
		return ^uint64(0), a.Value, true
	case MaskedEqual:
		return a.Value, a.ValueTwo, true
	}
	return 0, 0, false
}

func (p Policy) conflicts() error {
	for name, rules := range p.byCall() {
		if err := p.conflict(name, rules); err != nil {
			return err
		}
	}
	return nil
}

func (p Policy) conflict(name string, rules []int) error {
	for n, i := range rules {
		for _, before := range rules[:n] {
			a, b := p.Rules[before], p.Rules[i]
			if a.Action != b.Action && (len(a.Args) == 0 || sameArgs(a.Args, b.Args)) {
				why := fmt.Sprintf("%s here, %s in rule %d", b.Action, a.Action, before)
				return &PolicyError{Rule: i, Call: name, Reason: why, Err: ErrConflict}
			}
		}
	}
	return nil
}

// byCall yields the calls in the order they are first named, each with the indices of its rules.
func (p Policy) byCall() iter.Seq2[string, []int] {
	var order []string
	rules := make(map[string][]int, 512)
	for i, r := range p.Rules {
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

// sameArgs compares conditions as sets.
func sameArgs(a, b []Arg) bool {
	within := func(a, b []Arg) bool {
		return !slices.ContainsFunc(a, func(x Arg) bool { return !slices.Contains(b, x) })
	}
	return within(a, b) && within(b, a)
}
