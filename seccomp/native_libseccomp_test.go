//go:build linux && cgo && (amd64 || arm64) && !belljar_noseccomplib

package seccomp

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What compiles here is libseccomp alone, arguments included: a third program whose comparisons are not ours. It cannot
// hold every policy, so it is no back end, but a witness against both.

var libOps = map[Op]libseccomp.ScmpCompareOp{
	Equal: libseccomp.CompareEqual, NotEqual: libseccomp.CompareNotEqual, Less: libseccomp.CompareLess,
	LessOrEqual: libseccomp.CompareLessOrEqual, Greater: libseccomp.CompareGreater, GreaterOrEqual: libseccomp.CompareGreaterEqual,
	MaskedEqual: libseccomp.CompareMaskedEqual,
}

func libAction(a Action) libseccomp.ScmpAction {
	if e, ok := a.Errno(); ok {
		return libseccomp.ActErrno.SetReturnCode(int16(e))
	}
	return map[Action]libseccomp.ScmpAction{
		Allow: libseccomp.ActAllow, Log: libseccomp.ActLog, Trap: libseccomp.ActTrap, Ask: libseccomp.ActNotify, KillProcess: libseccomp.ActKillProcess,
	}[a]
}

// errNotNative says that libseccomp cannot hold a policy by its own rules.
type errNotNative string

func (e errNotNative) Error() string { return string(e) }

// natively has libseccomp compile a policy, each call's rules by its own argument rules. It knows no order, so rules of a
// call have to agree or exclude each other; no second comparison of an argument in a rule; no action equal to the
// default's; and numbers it does not know get the default action, not that for unknown ones.
func natively(arch Arch, p Policy, way int) (Program, error) {
	filter, err := libseccomp.NewFilter(libAction(p.Default))
	if err != nil {
		return Program{}, err
	}
	defer filter.Release()
	if err := filter.SetBadArchAction(libseccomp.ActKillProcess); err != nil {
		return Program{}, err
	}
	_ = filter.SetOptimize(way)
	lists := p.lists(arch)
	for _, name := range lists.order {
		number, ok := arch.Number(name)
		if !ok {
			continue
		}
		if err := addNative(filter, p.Default, number, lists.rules[name]); err != nil {
			return Program{}, err
		}
	}
	raw, err := export(filter)
	return Program{arch: arch, code: string(raw)}, err
}

func addNative(filter *libseccomp.ScmpFilter, otherwise Action, number uint32, rules []Rule) error {
	for n, r := range rules {
		for _, before := range rules[:n] {
			if before.Action != r.Action && !apart(before.Args, r.Args) {
				return errNotNative("the rules' order matters")
			}
		}
	}
	for _, r := range rules {
		args, err := oneEach(r.Args)
		switch {
		case err != nil:
			return errNotNative("two conditions on one argument")
		case r.Action == otherwise:
			continue
		}
		var conditions []libseccomp.ScmpCondition
		for _, a := range args {
			c, err := libseccomp.MakeCondition(uint(a.Index), libOps[a.Op], a.Value, a.ValueTwo)
			if err != nil {
				return err
			}
			conditions = append(conditions, c)
		}
		if len(conditions) == 0 {
			err = filter.AddRuleExact(libseccomp.ScmpSyscall(number), libAction(r.Action))
		} else {
			err = filter.AddRuleConditionalExact(libseccomp.ScmpSyscall(number), libAction(r.Action), conditions)
		}
		if err != nil {
			return fmt.Errorf("call %d: %s: %w", number, r, err)
		}
	}
	return nil
}

// differences counts on how many calls and arguments the program does not do what the policy says.
func differences(p Policy, program Program, random *rand.Rand) (differ, of int, first string) {
	machine, native := newInterpreter(program.Bytes()), program.Arch()
	o := newOracle(p, native)
	for _, number := range numbersOf(native) {
		name, _ := native.Name(number)
		for _, args := range argSets(p, name, random) {
			d := callData{number: number, arch: uint32(native), args: args}
			got, _, err := machine.run(d.bytes())
			of++
			if want := o.decide(d); err != nil || Action(got) != want {
				differ++
				if first == "" {
					first = fmt.Sprintf("%s %#x: %v, not %v, %v", name, args, Action(got), want, err)
				}
			}
		}
	}
	return differ, of, first
}

// TestLibseccompAlone holds libseccomp's own programs to the policies of whose rules it keeps the meaning: every preset
// it can hold, and random policies with one rule for a call. Our programs do the same by other tests, so the comparisons
// of two authors agree.
func TestLibseccompAlone(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(23, 23))
	policies := map[string]Policy{}
	for _, p := range presets {
		policies[p.String()] = p.policy().With(Rule{Names: []string{"ioctl"}, Action: Allow}) // presets but strict lean on the order of its rules
	}
	policies["strict-v1"], policies["strict-v2"] = strictV1(), Strict()
	for name, p := range policies {
		for _, way := range []int{chain, tree} {
			program, err := natively(NativeArch(), p, way)
			require.NoError(t, err, name)
			differ, of, first := differences(p, program, random)
			require.Zero(t, differ, "%s: %d of %d: %s", name, differ, of, first)
			t.Logf("%s: %d instructions, ours %d", name, program.Len(), compileWith(t, "built-in", p).Len())
		}
	}
	for seed := range uint64(proofs(500)) {
		random := rand.New(rand.NewPCG(seed, 29))
		p := oneRuleEach(validPolicy(random))
		program, err := natively(NativeArch(), p, tree)
		if _, cannot := err.(errNotNative); cannot {
			continue
		}
		require.NoError(t, err)
		differ, of, first := differences(p, program, random)
		require.Zero(t, differ, "%d of %d: %s\n%s", differ, of, first, p)
	}
}

// oneRuleEach leaves each call the first rule that names it.
func oneRuleEach(p Policy) Policy {
	p = p.Clone()
	seen := map[string]bool{}
	for i, r := range p.Rules {
		p.Rules[i].Names = slices.DeleteFunc(r.Names, func(name string) bool { return seen[name] })
		for _, name := range r.Names {
			seen[name] = true
		}
	}
	p.Rules = slices.DeleteFunc(p.Rules, func(r Rule) bool { return len(r.Names) == 0 })
	return p
}

// TestLibseccompLosesRules is why arguments are not left to libseccomp: of several rules for one call, all of which it
// takes without an error, it makes a program that lets through what no rule allows (2.5.4, chain and tree alike). A
// version that has lost this fault only changes what is logged; none may be so wrong that our reading of its rules
// cannot be right.
func TestLibseccompLosesRules(t *testing.T) {
	t.Parallel()
	held, wrong, lets := 0, 0, ""
	for seed := range uint64(proofs(1000)) {
		random := rand.New(rand.NewPCG(seed, 23))
		p := validPolicy(random)
		program, err := natively(NativeArch(), p, tree)
		if err != nil {
			require.IsType(t, errNotNative(""), err)
			continue
		}
		held++
		if differ, of, first := differences(p, program, random); differ > 0 {
			wrong++
			lets = fmt.Sprintf("%d of %d: %s\n%s", differ, of, first, p)
		}
		requireEqual(t, p, compileWith(t, "libseccomp", p), true, random)
	}
	major, minor, micro := libseccomp.GetLibraryVersion()
	t.Logf("libseccomp %d.%d.%d: %d policies, %d of them compiled wrongly; the last: %s", major, minor, micro, held, wrong, lets)
	assert.LessOrEqual(t, wrong*20, held, "%s", lets)
}

// BenchmarkLoadLibseccompAlone is to be compared with [BenchmarkLoad]: the default policy without what it refuses to
// ioctl, which libseccomp cannot hold.
func BenchmarkLoadLibseccompAlone(b *testing.B) {
	p := Default().With(Rule{Names: []string{"ioctl"}, Action: Allow})
	for name, way := range map[string]int{"linear": chain, "tree": tree} {
		program, err := natively(NativeArch(), p, way)
		require.NoError(b, err)
		b.Run(name, func(b *testing.B) { benchmarkLoad(b, program) })
	}
}
