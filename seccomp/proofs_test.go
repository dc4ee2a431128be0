package seccomp

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// backends are what can compile for this host, by name; where there is libseccomp another file adds it.
var backends = map[string]func(Arch, Policy) ([]insn, error){"built-in": builtin}

func compileWith(t testing.TB, backend string, p Policy) Program {
	t.Helper()
	program, err := p.compileWith(NativeArch(), backends[backend])
	require.NoError(t, err)
	return program
}

// foreignArches are AUDIT_ARCH values of i386, 32-bit ARM, riscv64, s390x, and none at all.
var foreignArches = []uint32{0x40000003, 0x40000028, 0xc00000f3, 0x80000016, 0}

var allArches = append([]uint32{uint32(AMD64), uint32(ARM64)}, foreignArches...)

func numbers() []uint32 {
	var all []uint32
	for n := range uint32(1200) {
		all = append(all, n, n|0x40000000)
	}
	return append(all, farNumbers...)
}

var farNumbers = []uint32{9999, 0xeffff, 0xf0000, 0xf0001, 0xf0005, 0xf0006, 0xf0007, 0x3fffffff, 0x40000000, 0x7fffffff, 0x80000000, 0xbfffffff, 0xc0000000, 0xfffffffe, 0xffffffff}

// numbersOf are the calls of an architecture.
func numbersOf(arch Arch) []uint32 { return slices.Sorted(maps.Keys(knownNumbers()[arch])) }

// requireEqual runs a program over every number of every architecture, with arguments at the edges of every rule, and
// compares with what the policy means. A brief run looks at calls of other architectures and at x32 numbers here and
// there only.
func requireEqual(t *testing.T, p Policy, program Program, brief bool, random *rand.Rand) {
	t.Helper()
	machine, native := newInterpreter(program.Bytes()), program.Arch()
	o := newOracle(p, native)
	all := numbers()
	sub := compat[native]
	in := slices.Contains(p.SubArches, sub)
	if brief {
		all = append(slices.Concat(numbersOf(native), gaps), farNumbers...)
		if in {
			all = append(all, numbersOf(sub)...)
		}
	}
	for i, number := range all {
		name, _ := native.Name(number &^ 0x40000000)
		sets := argSets(p, name, random)
		if name, known := sub.Name(number); in && known {
			sets = append(sets, argSets(p, name, random)...)
		}
		for _, args := range sets {
			for j, arch := range allArches {
				if brief && arch != uint32(native) && !(in && arch == uint32(sub)) && (i+j)%40 != 0 {
					continue
				}
				d := callData{number: number, arch: arch, args: args}
				got, _, err := machine.run(d.bytes())
				if want := o.decide(d); err != nil || Action(got) != want {
					require.NoError(t, err)
					require.Equal(t, want, Action(got), "arch %#x number %#x args %#x\n%s%s", arch, number, args, p, program)
				}
			}
		}
	}
}

// gaps are numbers between and above the calls of both architectures, and an x32 one.
var gaps = []uint32{245, 259, 350, 387, 400, 423, 480, 512, 547, 600, 0x40000000 | 1}

// proofs is how many random policies a test tries: BELLJAR_PROOFS=100 makes it a hundred times as many.
func proofs(n int) int {
	if testing.Short() || raceDetector { // data races are not what these tests look for
		n = max(n/25, 1)
	}
	times, err := strconv.Atoi(os.Getenv("BELLJAR_PROOFS"))
	if err != nil {
		times = 1
	}
	return n * times
}

// requireAllEqual holds the programs of every back end, and for every architecture, to the policy.
func requireAllEqual(t *testing.T, p Policy, brief bool, random *rand.Rand) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(backends)) {
		if !brief || !strings.Contains(name, "linear") {
			requireEqual(t, p, compileWith(t, name, p), brief, random)
		}
	}
	for _, arch := range supported {
		if arch != NativeArch() {
			program, err := p.compileWith(arch, builtin)
			require.NoError(t, err)
			require.Equal(t, arch, program.Arch())
			requireEqual(t, p, program, brief, random)
		}
	}
}

// validPolicy makes policies until one is valid.
func validPolicy(random *rand.Rand) Policy {
	for {
		if p := randomPolicy(random); p.Validate() == nil {
			return p
		}
	}
}

func randomPolicy(random *rand.Rand) Policy {
	actions := []Action{Allow, Errno(syscall.EPERM), Errno(syscall.ENOSYS), KillProcess, Log, Trap, Ask}
	action := func() Action { return actions[random.IntN(len(actions))] }
	names := everyName()
	few := names[random.IntN(len(names)-8):] // so that calls meet several rules
	p := Policy{Default: action(), Unknown: action(), Flags: Flags(random.Uint32()) & (FlagTSync | FlagLog | FlagSpecAllow)}
	for range 1 + random.IntN(12) {
		r := Rule{Action: action(), Args: randomArgs(random)}
		for range 1 + random.IntN(3) {
			r.Names = append(r.Names, few[random.IntN(8)])
		}
		if random.IntN(5) == 0 {
			r.Arches = []Arch{supported[random.IntN(len(supported))]}
		}
		p.Rules = append(p.Rules, r)
	}
	if random.IntN(4) == 0 {
		p.SubArches = [][]Arch{{I386}, {ARM}, {I386, ARM}}[random.IntN(3)]
	}
	return p
}

func randomArgs(random *rand.Rand) []Arg {
	values := []uint64{0, 1, 2, 10, 0x5412, 0x7fffffff, 0x80000000, 0xffffffff, 1 << 32, 1<<32 + 1, 1 << 63, ^uint64(0) - 1, ^uint64(0)}
	var args []Arg
	for range random.IntN(4) {
		a := Arg{Index: random.IntN(3), Op: Op(1 + random.IntN(7)), Value: values[random.IntN(len(values))]}
		if a.Op == MaskedEqual {
			a.ValueTwo = values[random.IntN(len(values))] & a.Value
		}
		args = append(args, a)
	}
	return args
}

// skip leaves a test out for want of something on this machine, which where everything must work is a failure.
func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("BELLJAR_MUST_WORK") == "1" {
		t.Fatal(why)
	}
	t.Skip(why)
}
