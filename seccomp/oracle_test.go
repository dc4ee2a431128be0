package seccomp

import (
	"math/rand/v2"
	"slices"
	"syscall"
)

// meaning is what a policy says of a call, straight from the words of its documentation: slow, and blind to how programs
// are made.
func meaning(p Policy, native Arch, d callData) Action {
	enosys := Errno(syscall.ENOSYS)
	if d.arch != uint32(native) {
		return KillProcess
	}
	if native == AMD64 && d.number >= 0x40000000 && d.number != 0xffffffff {
		return enosys
	}
	name, known := native.Name(d.number)
	if !known {
		if d.number == 0xffffffff && native == AMD64 || p.Unknown == 0 {
			return enosys
		}
		return p.Unknown
	}
	for _, r := range p.Rules {
		if slices.Contains(r.Names, name) && !slices.ContainsFunc(r.Args, func(a Arg) bool { return !condition(a, d.args) }) {
			return r.Action
		}
	}
	return p.Default
}

func condition(a Arg, args [6]uint64) bool {
	v := args[a.Index]
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
	case MaskedEqual:
		return v&a.Value == a.ValueTwo
	}
	panic("no such comparison")
}

// edges are argument values at which a condition may change its mind, and some that only differ in the upper half.
func edges(args []Arg) []uint64 {
	values := []uint64{0, 1, 0xffffffff, 1 << 32, 1 << 63, ^uint64(0)}
	for _, a := range args {
		for _, v := range []uint64{a.Value, a.ValueTwo, a.ValueTwo | ^a.Value, a.ValueTwo ^ a.Value&-a.Value} {
			values = append(values, v, v-1, v+1, v^1<<32, v^1<<63, v&0xffffffff, v<<32)
		}
	}
	slices.Sort(values)
	return slices.Compact(values)
}

// calls yields argument sets for a call: every edge on each argument the policy looks at, the others at random.
func argSets(p Policy, name string, random *rand.Rand) [][6]uint64 {
	var conditions []Arg
	for _, r := range p.Rules {
		if slices.Contains(r.Names, name) {
			conditions = append(conditions, r.Args...)
		}
	}
	if len(conditions) == 0 {
		return [][6]uint64{{}, {random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64(), random.Uint64()}}
	}
	values := edges(conditions)
	var sets [][6]uint64
	for index := range 6 {
		for _, v := range values {
			var args [6]uint64
			for i := range args {
				args[i] = values[random.IntN(len(values))]
			}
			args[index] = v
			sets = append(sets, args)
		}
	}
	return sets
}
