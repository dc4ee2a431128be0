//go:build amd64 || arm64

package seccomp

import (
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestProgramMeansPolicy(t *testing.T) {
	small := Policy{Default: KillProcess, Rules: []Rule{{Names: []string{"exit_group"}, Action: Allow}}}
	half := everyCall()
	half.Rules = half.Rules[:len(half.Rules)/2] // of two architectures all would be too large
	for name, p := range map[string]Policy{
		"default":         Default(),
		"strict":          Strict(),
		"build":           Build(),
		"network":         Network(),
		"default, kill":   Default().WithDenied(KillProcess),
		"default, trap":   Default().WithDenied(Trap),
		"default, log":    Default().WithDenied(Log),
		"small":           small,
		"deny-list":       {Default: Allow, Unknown: Allow, Rules: []Rule{{Names: []string{"ptrace"}, Action: Errno(syscall.EACCES)}}},
		"foreign only":    {Default: Errno(syscall.EPERM), Rules: []Rule{{Names: []string{"socketcall"}, Action: Allow}}},
		"errno 0":         {Default: Errno(0), Rules: []Rule{{Names: []string{"read"}, Action: Log}}},
		"every call args": everyCall(),
		"386 and arm":     subArches(Default()),
		"their own calls": subArches(Policy{Default: KillProcess, Unknown: Trap, Rules: []Rule{{Names: []string{"socketcall", "set_tls", "waitpid"}, Action: Allow}}}),
		"half, 386":       subArches(half),
		"theirs alone":    subArches(Policy{Default: Trap, Unknown: Trap, Rules: []Rule{{Names: []string{"waitpid", "set_tls"}, Action: Allow}}}),
		"all but theirs":  subArches(Policy{Default: Trap, Unknown: Trap, Rules: []Rule{{Names: []string{"newfstatat"}, Action: Allow}}}),
		"nothing":         subArches(Policy{Default: Trap, Unknown: Trap, Rules: []Rule{{Names: []string{"spu_run"}, Action: Allow}}}),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			brief := testing.Short() && name != "default"
			requireAllEqual(t, p, brief, rand.New(rand.NewPCG(1, 2)))
		})
	}
}

// everyCall compares an argument of each call: as many blocks as can be, far behind the search.
func everyCall() Policy {
	p := Policy{Default: Errno(syscall.EPERM)}
	for i, name := range NativeArch().Names() {
		p.Rules = append(p.Rules, Rule{Names: []string{name}, Action: Allow, Args: []Arg{{Index: i % 6, Op: Equal, Value: uint64(i)}}})
	}
	return p
}

func TestRandomProgramsMeanTheirPolicies(t *testing.T) {
	t.Parallel()
	for seed := range uint64(proofs(2000)) {
		random := rand.New(rand.NewPCG(seed, 7))
		requireAllEqual(t, validPolicy(random), true, random)
	}
}

// FuzzPrograms goes on where the random policies of a test run end.
func FuzzPrograms(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		random := rand.New(rand.NewPCG(a, b))
		p, q := validPolicy(random), validPolicy(random)
		requireAllEqual(t, p, true, random)
		requireCombined(t, p, q, random)
	})
}

func TestLargestRule(t *testing.T) {
	r := Rule{Names: []string{"read"}, Action: Allow}
	for i := range maxArgs {
		r.Args = append(r.Args, Arg{Index: i % 6, Op: MaskedEqual, Value: 1<<(i+16) | 1<<16})
	}
	p := Policy{Default: Errno(syscall.EPERM), Rules: []Rule{r, {Names: []string{"read"}, Action: Log}}}
	requireAllEqual(t, p, false, rand.New(rand.NewPCG(3, 4)))

	p.Rules[0].Args = append(p.Rules[0].Args, Arg{Index: 0, Op: NotEqual, Value: 1})
	_, err := p.Compile()
	require.ErrorIs(t, err, ErrTooLarge)
}

func TestProgramTooLarge(t *testing.T) {
	p := Policy{Default: Errno(syscall.EPERM)}
	for i := range uint64(maxInsns) {
		p.Rules = append(p.Rules, Rule{Names: []string{"read"}, Action: Allow, Args: []Arg{{Op: Equal, Value: i}}})
	}
	_, err := p.Compile()
	require.ErrorIs(t, err, ErrTooLarge)
	var e *PolicyError
	require.ErrorAs(t, err, &e)
	assert.Contains(t, e.Error(), "at most 4096")
}

func TestCompileInvalid(t *testing.T) {
	program, err := Policy{}.Compile()
	require.ErrorIs(t, err, ErrEmpty)
	assert.Zero(t, program)
	assert.Zero(t, program.Len())
	assert.Empty(t, program.Bytes())
}

func TestCompileIsDeterministic(t *testing.T) {
	first, err := everyCall().compile()
	require.NoError(t, err)
	for range 5 {
		again, err := everyCall().compile()
		require.NoError(t, err)
		require.Equal(t, first, again)
	}
}

func TestProgramIsImmutable(t *testing.T) {
	program, err := Default().Compile()
	require.NoError(t, err)
	code := program.Bytes()
	require.Len(t, code, program.Len()*8)
	clear(code)
	assert.NotEqual(t, code, program.Bytes())
}

// TestDefaultIsSmall holds what makes the filter quick to load: few instructions to translate, and few to execute for a
// number. The kernel runs a new filter once for every number.
// TestTidy: what a block decides is for the oracle; here is that nothing in it is done twice.
func TestTidy(t *testing.T) {
	rules := func(values ...uint64) (rules []Rule) {
		for _, v := range values {
			rules = append(rules, allowing(Low32(0, uint32(v))))
		}
		return rules
	}
	assert.Equal(t, []insn{
		{op: opLoad, k: 16}, {op: opEqual, k: 1, jt: 2}, {op: opEqual, k: 2, jt: 1}, {op: opEqual, k: 10, jf: 1}, ret(Allow), ret(Errno(eperm)),
	}, rulesBlock(rules(1, 2, 10), Errno(eperm)))
	// A load stays where a comparison of another word may come before it.
	mixed := append(rules(1), allowing(Low32(1, 5), Low32(0, 7)), allowing(Low32(0, 9)))
	loads := 0
	for _, i := range rulesBlock(mixed, Errno(eperm)) {
		if i.op == opLoad {
			loads++
		}
	}
	assert.Equal(t, 4, loads)
	// Returns that are out of a jump's reach stand again within it.
	var many []uint64
	for v := range uint64(600) {
		many = append(many, v)
	}
	p := Policy{Default: Errno(eperm), Rules: rules(many...)}
	assert.Less(t, len(rulesBlock(p.Rules, p.Default)), 620)
	requireAllEqual(t, p, true, rand.New(rand.NewPCG(23, 1)))
}

func TestDefaultIsSmall(t *testing.T) {
	for name := range backends {
		if strings.Contains(name, "linear") {
			continue // there for comparison
		}
		program := compileWith(t, name, Default())
		assert.LessOrEqual(t, program.Len(), map[string]int{"built-in": 105, "libseccomp": 170}[name]) // arm64 has some more than amd64
		total, calls := 0, NativeArch().Names()
		for _, call := range calls {
			number, _ := NativeArch().Number(call)
			_, steps, err := newInterpreter(program.Bytes()).run(callData{number: number, arch: uint32(NativeArch())}.bytes())
			require.NoError(t, err)
			assert.LessOrEqual(t, steps, 35, "%s: %s", name, call)
			total += steps
		}
		t.Logf("%s: %d instructions, %.1f executed on average", name, program.Len(), float64(total)/float64(len(calls)))
	}
}

func TestCompileLeavesNothing(t *testing.T) {
	open := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(entries)
	}
	before, threads := open(), runtime.NumGoroutine()
	for range 20 {
		_, err := Default().compile()
		require.NoError(t, err)
	}
	// What an earlier test left to end may be gone; twenty compilations leave twenty of whatever they leak.
	assert.Less(t, open(), before+20, "descriptors")
	assert.Less(t, runtime.NumGoroutine(), threads+20, "goroutines")
}

func TestCacheKey(t *testing.T) {
	rule := func(action Action, args []Arg, names ...string) Rule {
		return Rule{Names: names, Action: action, Args: args}
	}
	policies := []Policy{
		{},
		{Default: Allow},
		{Default: Allow, Unknown: Allow},
		{Rules: []Rule{rule(Allow, nil, "read", "write")}},
		{Rules: []Rule{rule(Allow, nil, "readwrite")}},
		{Rules: []Rule{rule(Allow, nil, "read"), rule(Allow, nil, "write")}},
		{Rules: []Rule{rule(Log, nil, "read"), rule(Allow, nil, "write")}},
		{Rules: []Rule{rule(Allow, []Arg{{}}, "read")}},
		{Rules: []Rule{rule(Allow, []Arg{{Index: 1}}, "read")}},
		{Rules: []Rule{rule(Allow, []Arg{{Op: 1}}, "read")}},
		{Rules: []Rule{rule(Allow, []Arg{{Value: 1}}, "read")}},
		{Rules: []Rule{rule(Allow, []Arg{{ValueTwo: 1}}, "read")}},
		{Rules: []Rule{{Names: []string{"read"}, Action: Allow, Arches: []Arch{AMD64}}}},
		{Default: Allow, Flags: FlagLog},
		{Default: Allow, SubArches: []Arch{I386}},
		{Default: Allow, SubArches: []Arch{I386, ARM}},
		Default(), Default().WithDenied(Trap),
	}
	seen := map[string]int{}
	for i, p := range policies {
		if before, ok := seen[p.key()]; ok {
			t.Errorf("policies %d and %d have one key", before, i)
		}
		seen[p.key()] = i
		assert.Equal(t, p.key(), p.Clone().key())
	}
}

func TestCacheIsSharedAndBounded(t *testing.T) {
	var c cache
	var wg sync.WaitGroup
	programs := make([]Program, 16)
	for i := range programs {
		wg.Go(func() {
			p := Default()
			if i%2 == 1 {
				p = p.WithDenied(KillProcess)
			}
			programs[i], _ = c.get(p)
		})
	}
	wg.Wait()
	for i := range programs {
		assert.NotZero(t, programs[i])
		assert.Equal(t, programs[i%2], programs[i])
	}
	assert.Len(t, c.entries, 2)
	for i := range 2 * maxPrograms {
		p := Policy{Default: Errno(syscall.Errno(i)), Rules: []Rule{{Names: []string{"read"}, Action: Allow}}}
		_, err := c.get(p)
		require.NoError(t, err)
	}
	assert.Len(t, c.entries, maxPrograms, "full, and one goes for one that comes")
	kept := 0
	for range maxPrograms {
		before := len(c.entries)
		_, err := c.get(Default())
		require.NoError(t, err)
		kept += before
	}
	assert.Equal(t, maxPrograms*maxPrograms, kept, "a policy in use drives out no other")
}
