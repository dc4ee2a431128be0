package seccomp

import "math"

// holds tells whether the condition holds for a value of its argument.
func (a Arg) holds(v uint64) bool {
	switch a.Op {
	case Equal:
		return v == a.Value
	case NotEqual:
		return v != a.Value
	case Less:
		return v < a.Value
	case LessOrEqual:
		return v <= a.Value
	case Greater:
		return v > a.Value
	case GreaterOrEqual:
		return v >= a.Value
	}
	return v&a.Value == a.ValueTwo
}

// bounds are the least and the greatest value for which the condition may hold.
func (a Arg) bounds() (least, most uint64) {
	switch a.Op {
	case Equal:
		return a.Value, a.Value
	case Less:
		return 0, a.Value - 1
	case LessOrEqual:
		return 0, a.Value
	case Greater:
		return a.Value + 1, math.MaxUint64
	case GreaterOrEqual:
		return a.Value, math.MaxUint64
	case MaskedEqual:
		return a.ValueTwo, a.ValueTwo | ^a.Value
	}
	return 0, math.MaxUint64
}

// bits are the bits the condition fixes, and to what.
func (a Arg) bits() (mask, value uint64) {
	switch a.Op {
	case Equal:
		return ^uint64(0), a.Value
	case MaskedEqual:
		return a.Value, a.ValueTwo
	}
	return 0, 0
}

// excludes tells whether no value can meet both conditions. It finds what two conditions say outright, bits and bounds
// that contradict each other; of both together it knows nothing.
func (a Arg) excludes(b Arg) bool {
	if a.Index != b.Index {
		return false
	}
	maskA, valueA := a.bits()
	maskB, valueB := b.bits()
	if common := maskA & maskB; valueA&common != valueB&common {
		return true
	}
	leastA, mostA := a.bounds()
	leastB, mostB := b.bounds()
	least, most := max(leastA, leastB), min(mostA, mostB)
	return least > most || least == most && !(a.holds(least) && b.holds(least))
}

// implies tells whether wherever a holds b does too, as far as it can be seen outright.
func (a Arg) implies(b Arg) bool {
	if a == b || b.always() {
		return true
	}
	if a.Index != b.Index {
		return false
	}
	least, most := a.bounds()
	if least == most {
		return b.holds(least)
	}
	switch b.Op {
	case NotEqual:
		return !a.holds(b.Value)
	case MaskedEqual:
		mask, value := a.bits()
		return mask&b.Value == b.Value && value&b.Value == b.ValueTwo
	case Equal:
		return false
	}
	leastB, mostB := b.bounds()
	return least >= leastB && most <= mostB
}

// always tells whether the condition holds for every value.
func (a Arg) always() bool {
	least, most := a.bounds()
	return a.Op != NotEqual && least == 0 && most == math.MaxUint64
}

// both joins the conditions of two rules, without those that others make needless. ok is false where they can be seen
// never to hold together.
func both(a, b []Arg) (joined []Arg, ok bool) {
	if apart(a, b) {
		return nil, false
	}
	return needed(append(append(make([]Arg, 0, len(a)+len(b)), a...), b...)), true
}

// apart tells whether the conditions of two rules, each of which can hold, can be seen never to hold together.
func apart(a, b []Arg) bool {
	for _, x := range a {
		for _, y := range b {
			if x.excludes(y) {
				return true
			}
		}
	}
	return false
}

// needed leaves out conditions that others imply.
func needed(all []Arg) []Arg {
	var kept []Arg
	for i, x := range all {
		needless := x.always()
		for j, y := range all {
			// Of two that imply each other the first stays.
			needless = needless || i != j && y.implies(x) && (!x.implies(y) || j < i)
		}
		if !needless {
			kept = append(kept, x)
		}
	}
	return kept
}
