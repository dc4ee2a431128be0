package seccomp

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// rank is the order of actions by severity, written down as the documentation has it.
func rank(a Action) int {
	order := []Action{Allow, Log, Ask, Errno(0), Trap, KillProcess}
	for i, kind := range order {
		if a == kind {
			return i
		}
	}
	return 3 // an error
}

// requireCombined holds the results to the meaning of both policies: for every call, at the edges of the rules of both,
// the milder or the severer action, p's where they are of one kind. What is merged has the same sub-architectures: it must.
func requireCombined(t *testing.T, p, q Policy, random *rand.Rand) (merged, restricted Policy) {
	t.Helper()
	merged, restricted = p.Merge(q), p.Restrict(q)
	asked := q.Clone()
	if !slices.Equal(p.SubArches, q.SubArches) {
		require.ErrorIs(t, merged.Validate(), ErrConflict)
		asked.SubArches = p.SubArches
		merged = p.Merge(asked)
	}
	require.NoError(t, merged.Validate(), "%s", merged)
	require.NoError(t, restricted.Validate(), "%s", restricted)
	together := Policy{Rules: append(append([]Rule(nil), p.Rules...), q.Rules...)}
	for _, arch := range supported {
		a, b, as := newOracle(p, arch), newOracle(q, arch), newOracle(asked, arch)
		m, r := newOracle(merged, arch), newOracle(restricted, arch)
		for _, c := range everyCallOf(arch, p, q) {
			name, _ := c.Arch.Name(c.Number)
			for _, args := range argSets(together, name, random) {
				d := callData{number: c.Number, arch: uint32(c.Arch), args: args}
				x, y := a.decide(d), b.decide(d)
				mild, severe := x, x
				if z := as.decide(d); rank(z) < rank(x) {
					mild = z
				}
				if rank(y) > rank(x) {
					severe = y
				}
				if got := m.decide(d); got != mild {
					require.Equal(t, mild, got, "%s %s %#x\n%s\n%s\n=> %s", arch, name, args, p, q, merged)
				}
				if got := r.decide(d); got != severe {
					require.Equal(t, severe, got, "%s %s %#x\n%s\n%s\n=> %s", arch, name, args, p, q, restricted)
				}
			}
		}
	}
	return merged, restricted
}

// everyCallOf are the calls of an architecture, and those of its sub-architecture where one of the policies lets it in.
func everyCallOf(arch Arch, policies ...Policy) (calls []Call) {
	on := []Arch{arch}
	for _, p := range policies {
		if slices.Contains(p.SubArches, compat[arch]) {
			on = []Arch{arch, compat[arch]}
		}
	}
	for _, a := range on {
		for _, number := range append(numbersOf(a), 9999) {
			calls = append(calls, Call{Arch: a, Number: number})
		}
	}
	return calls
}

func TestCombinePresets(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 5))
	for _, a := range presets {
		for _, b := range presets {
			t.Run(a.String()+" "+b.String(), func(t *testing.T) {
				requireCombined(t, a.policy(), b.policy(), random)
			})
		}
	}
	deny := Policy{Default: Allow, Unknown: Allow, Rules: []Rule{{Names: []string{"ptrace", "read"}, Action: Log}}}
	requireCombined(t, Default(), deny, random)
	requireCombined(t, deny, Default(), random)
}

// TestCombineRandom: programs of the results are held to them as well.
func TestCombineRandom(t *testing.T) {
	combined := 0
	for seed := range uint64(proofs(400)) {
		random := rand.New(rand.NewPCG(seed, 11))
		p, q := validPolicy(random), validPolicy(random)
		merged, restricted := requireCombined(t, p, q, random)
		if seed%8 == 0 {
			requireAllEqual(t, merged, true, random)
			requireAllEqual(t, restricted, true, random)
		}
		combined++
	}
	t.Logf("%d pairs", combined)
}

func TestCombineLaws(t *testing.T) {
	for seed := range uint64(100) {
		random := rand.New(rand.NewPCG(seed, 13))
		p := validPolicy(random)
		for _, same := range []Policy{p.Merge(p), p.Restrict(p)} {
			require.NoError(t, same.Validate())
			requireSameMeaning(t, p, same, random)
		}
	}
	// By itself a merge is small: what a rule without conditions says of many calls stays one rule.
	again := Default().Merge(Build())
	assert.LessOrEqual(t, len(again.Rules), len(Default().Rules)+2, "%s", again)
}

func requireSameMeaning(t *testing.T, p, q Policy, random *rand.Rand) {
	t.Helper()
	together := Policy{Rules: append(append([]Rule(nil), p.Rules...), q.Rules...)}
	for _, arch := range supported {
		a, b := newOracle(p, arch), newOracle(q, arch)
		for _, c := range everyCallOf(arch, p, q) {
			name, _ := c.Arch.Name(c.Number)
			for _, args := range argSets(together, name, random) {
				d := callData{number: c.Number, arch: uint32(c.Arch), args: args}
				if want, got := a.decide(d), b.decide(d); want != got {
					require.Equal(t, want, got, "%s %s %#x\n%s\n%s", arch, name, args, p, q)
				}
			}
		}
	}
}

func TestCombineText(t *testing.T) {
	equal := func(v uint64) Arg { return Arg{Op: Equal, Value: v} }
	p := Policy{Default: Errno(eperm), Flags: FlagLog | FlagSpecAllow, Rules: []Rule{
		{Names: []string{"read", "write"}, Action: Allow},
		{Names: []string{"socket"}, Action: Allow, Args: []Arg{equal(1)}},
		{Names: []string{"open"}, Action: Allow, Arches: []Arch{AMD64}},
	}}
	q := Policy{Default: KillProcess, Flags: FlagTSync, Rules: []Rule{
		{Names: []string{"read"}, Action: Allow},
		{Names: []string{"socket"}, Action: Ask, Args: []Arg{{Op: LessOrEqual, Value: 2}}},
		{Names: []string{"open"}, Action: Log},
	}}
	assert.Equal(t, strings.Join([]string{
		"default: errno 1", "unknown: errno 38", "flags: TSYNC LOG SPEC_ALLOW",
		"allow read write",
		"allow socket if arg0 == 0x1", "notify socket if arg0 <= 0x2",
		"allow open on amd64", "log open on arm64", "",
	}, "\n"), p.Merge(q).String())
	assert.Equal(t, strings.Join([]string{
		"default: kill process", "unknown: errno 38", "flags: TSYNC LOG",
		"allow read",
		"notify socket if arg0 == 0x1", "errno 1 socket if arg0 <= 0x2",
		"log open on amd64", "errno 1 open on arm64", "",
	}, "\n"), p.Restrict(q).String())

	nothing := Policy{Default: KillProcess, Rules: []Rule{{Names: []string{"read"}, Action: Allow}}}
	else_ := Policy{Default: KillProcess, Rules: []Rule{{Names: []string{"write"}, Action: Allow}}}
	none := nothing.Restrict(else_)
	require.NoError(t, none.Validate(), "nothing is allowed, and that is said")
	assert.Equal(t, "default: kill process\nunknown: errno 38\nkill process read write\n", none.String())
}

func TestCombineInvalid(t *testing.T) {
	bad := Default().Allow("opne")
	for _, r := range []Policy{bad.Merge(Default()), Default().Merge(bad), bad.Restrict(Default()), Default().Restrict(bad)} {
		require.ErrorIs(t, r.Validate(), ErrUnknownCall)
	}
	require.ErrorIs(t, Policy{}.Merge(Default()).Validate(), ErrEmpty)
	require.ErrorIs(t, Default().Restrict(Policy{}).Validate(), ErrEmpty)
}

// TestCombineHostile: a stranger's policy costs little, and what comes of it is refused rather than cut.
func TestCombineHostile(t *testing.T) {
	hostile := func(index int, actions ...Action) Policy {
		p := Policy{Default: Errno(eperm)}
		for i := range uint64(2000) {
			p.Rules = append(p.Rules, Rule{Names: []string{"ioctl"}, Action: actions[i%uint64(len(actions))], Args: []Arg{{Index: index, Op: Equal, Value: i}}})
		}
		return p
	}
	p, q := hostile(0, Errno(eperm), Errno(enosys)), hostile(1, Log, Trap)
	require.NoError(t, p.Validate())
	for _, r := range []Policy{p.Merge(q), p.Restrict(q), p.Restrict(q).Clone().Allow("read").WithDenied(KillProcess)} {
		require.ErrorIs(t, r.Validate(), ErrTooLarge)
		require.ErrorContains(t, r.Validate(), "the rules for ioctl are too many")
		_, err := r.Compile()
		require.ErrorIs(t, err, ErrTooLarge)
		_, err = r.Marshal()
		require.ErrorIs(t, err, ErrTooLarge)
		require.ErrorIs(t, r.Merge(Default()).Validate(), ErrTooLarge)
		require.ErrorIs(t, Default().Restrict(r).Validate(), ErrTooLarge)
	}
	// Lists of hundreds of requests, as a learned policy may have, are no trouble.
	list := func(from uint64) Policy {
		p := Policy{Default: Errno(eperm)}
		for i := range uint64(400) {
			p.Rules = append(p.Rules, Rule{Names: []string{"ioctl"}, Action: Allow, Args: []Arg{Low32(1, uint32(from+i))}})
		}
		return p
	}
	merged, restricted := list(0).Merge(list(200)), list(0).Restrict(list(200))
	require.NoError(t, merged.Validate())
	require.NoError(t, restricted.Validate())
	assert.Equal(t, 600, len(merged.Rules))
	assert.Equal(t, 200, len(restricted.Rules))
}

func TestCombineCopies(t *testing.T) {
	p, q := Default(), Build()
	before := p.String() + q.String()
	for _, r := range []Policy{p.Merge(q), p.Restrict(q), p.Merge(Policy{})} {
		for i := range r.Rules {
			for j := range r.Rules[i].Names {
				r.Rules[i].Names[j] = "spoiled"
			}
			for j := range r.Rules[i].Args {
				r.Rules[i].Args[j] = Arg{}
			}
		}
	}
	assert.Equal(t, before, p.String()+q.String())
}
