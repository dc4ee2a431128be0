package seccomp

import (
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
)

// oracle is what a policy says of calls, straight from the words of its documentation: it is blind to how programs are
// made, and shares no code with what makes them.
type oracle struct {
	policy Policy
	native Arch
	rules  map[Arch]map[uint32][]Rule // by number, in the policy's order
}

// compat are the architectures of 32-bit programs, by that of the kernel.
var compat = map[Arch]Arch{AMD64: 0x40000003, ARM64: 0x40000028}

func newOracle(p Policy, native Arch) oracle {
	o := oracle{p, native, map[Arch]map[uint32][]Rule{native: {}}}
	if slices.Contains(p.SubArches, compat[native]) {
		o.rules[compat[native]] = map[uint32][]Rule{}
	}
	for _, r := range p.Rules {
		if r.Arches != nil && !slices.Contains(r.Arches, native) {
			continue
		}
		for _, name := range r.Names {
			for arch, rules := range o.rules {
				if number, ok := arch.Number(name); ok {
					rules[number] = append(rules[number], r)
				}
			}
		}
	}
	return o
}

var knownNumbers = sync.OnceValue(func() map[Arch]map[uint32]bool {
	known := map[Arch]map[uint32]bool{AMD64: {}, ARM64: {}, I386: {}, ARM: {}}
	for arch, numbers := range known {
		for _, name := range arch.Names() {
			number, _ := arch.Number(name)
			numbers[number] = true
		}
	}
	return known
})

func (o oracle) decide(d callData) Action {
	enosys := Errno(syscall.ENOSYS)
	rules, in := o.rules[Arch(d.arch)]
	known := knownNumbers()[Arch(d.arch)][d.number]
	switch {
	case !in:
		return KillProcess
	case d.arch == 0xc000003e && d.number >= 0x40000000:
		return enosys
	case !known && o.policy.Unknown == 0:
		return enosys
	case !known:
		return o.policy.Unknown
	}
	for _, r := range rules[d.number] {
		if !slices.ContainsFunc(r.Args, func(a Arg) bool { return !condition(a, d.args) }) {
			return r.Action
		}
	}
	return o.policy.Default
}

// meaning asks once.
func meaning(p Policy, native Arch, d callData) Action { return newOracle(p, native).decide(d) }

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

// edges are values at which a condition may change its mind, and some that only differ in one half.
func edges(a Arg) []uint64 {
	at := []uint64{a.Value}
	if a.Op == MaskedEqual {
		at = []uint64{a.Value, a.ValueTwo, a.ValueTwo | ^a.Value, a.ValueTwo ^ a.Value&-a.Value}
	}
	var values []uint64
	for _, v := range at {
		values = append(values, v, v-1, v+1, v^1<<32, v^1<<63, v&0xffffffff, v<<32)
	}
	return values
}

// meets gives a value that meets the condition, as far as one value can be chosen for it alone.
func meets(a Arg, random *rand.Rand) uint64 {
	switch a.Op {
	case NotEqual, Greater:
		return a.Value + 1
	case Less:
		return a.Value - 1
	case MaskedEqual:
		return a.ValueTwo | random.Uint64()&^a.Value
	}
	return a.Value
}

// argSets yields arguments for a call: around such as meet all of a rule, every edge of every condition on its argument,
// the others as the rule wants them.
func argSets(p Policy, name string, random *rand.Rand) [][6]uint64 {
	var rules []Rule
	var values [6][]uint64
	conditions := 0
	for _, r := range p.Rules {
		if name == "" || !slices.Contains(r.Names, name) {
			continue
		}
		rules = append(rules, r)
		for _, a := range r.Args {
			values[a.Index] = append(values[a.Index], edges(a)...)
			conditions++
		}
	}
	base := func() (args [6]uint64) {
		for i := range args {
			if args[i] = random.Uint64(); len(values[i]) > 0 {
				args[i] = values[i][random.IntN(len(values[i]))]
			}
		}
		if len(rules) > 0 {
			for _, a := range rules[random.IntN(len(rules))].Args {
				args[a.Index] = meets(a, random)
			}
		}
		return args
	}
	sets := [][6]uint64{{}, base()}
	if conditions == 0 {
		return sets
	}
	for index, of := range values {
		slices.Sort(of)
		for _, v := range append(slices.Compact(of), 0, 0xffffffff, 1<<32, 1<<63, ^uint64(0)) {
			args := base()
			args[index] = v
			sets = append(sets, args)
		}
	}
	return sets
}
