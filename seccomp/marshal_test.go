package seccomp

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// requireRoundTrip writes a policy and reads it again. What was read once comes back as the same text.
func requireRoundTrip(t *testing.T, p Policy) Policy {
	t.Helper()
	text, err := p.Marshal()
	require.NoError(t, err)
	back, err := ParseFor(bytes.NewReader(text), Target{Arch: AMD64})
	require.NoError(t, err, "%s", text)
	text, err = back.Marshal()
	require.NoError(t, err)
	again, err := ParseFor(bytes.NewReader(text), Target{Arch: ARM64})
	require.NoError(t, err, "%s", text)
	require.Equal(t, back.key(), again.key())
	return back
}

func TestMarshalRoundTrip(t *testing.T) {
	for name, p := range map[string]Policy{
		"default": Default(), "strict": Strict(), "build": Build(), "network": Network(),
		"default, kill": Default().WithDenied(KillProcess), "default, trap": Default().WithDenied(Trap),
		"merged":             Default().Merge(Strict()),
		"restricted":         Default().Restrict(Policy{Default: Allow, Unknown: Allow, Rules: []Rule{{Names: []string{"ptrace"}, Action: Log}}}),
		"sub-architectures":  {Default: Allow, Unknown: Allow, SubArches: []Arch{I386, ARM}, Rules: []Rule{{Names: []string{"socketcall"}, Action: Log}}},
		"sub-architecture":   {Default: Allow, Unknown: Allow, SubArches: []Arch{I386}, Rules: []Rule{{Names: []string{"read"}, Action: Log}}},
		"sub-architecture 2": {Default: Allow, Unknown: Allow, SubArches: []Arch{ARM}, Rules: []Rule{{Names: []string{"set_tls"}, Action: Log}}},
		"everything": {Default: Allow, Unknown: Allow, Flags: FlagTSync | FlagLog | FlagSpecAllow | FlagWaitKillableRecv, Rules: []Rule{
			{Names: []string{"read", "socketcall"}, Action: Errno(0), Arches: []Arch{ARM64}},
			{Names: []string{"write"}, Action: Ask, Args: []Arg{
				{0, Equal, ^uint64(0), 0}, {1, NotEqual, 1, 0}, {2, Less, 2, 0}, {3, LessOrEqual, 3, 0}, {4, Greater, 4, 0}, {5, GreaterOrEqual, 5, 0},
			}},
			{Names: []string{"write"}, Action: Errno(4095), Args: []Arg{{0, MaskedEqual, 3, 1}}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			back := requireRoundTrip(t, p)
			assert.Equal(t, p.String(), back.String())
			assert.Equal(t, p.key(), back.key(), "the same value")
		})
	}
}

func TestMarshalRandom(t *testing.T) {
	written := 0
	for seed := range uint64(proofs(600)) {
		random := rand.New(rand.NewPCG(seed, 17))
		p := validPolicy(random)
		p.Unknown = p.parsedUnknown()
		if _, err := p.Marshal(); err != nil {
			require.ErrorIs(t, err, ErrUnsupported)
			require.ErrorContains(t, err, "two conditions on one argument")
			continue
		}
		written++
		requireSameMeaning(t, p, requireRoundTrip(t, p), random)
	}
	assert.Greater(t, written, proofs(600)/5, "the generator makes too few policies that can be written")
}

func TestMarshalErrors(t *testing.T) {
	for want, p := range map[string]Policy{
		"no default action": {},
		"unknown numbers: trap, and the form says errno 38 with default errno 1":                            {Default: Errno(eperm), Unknown: Trap, Rules: []Rule{allowing()}},
		"unknown numbers: errno 38, and the form says allow with default allow":                             {Default: Allow, Rules: []Rule{allowing()}},
		"rule 0: seccomp: unsupported operation: two conditions on one argument: arg0 > 0x1 and arg0 < 0x5": policy(allowing(Arg{Op: Greater, Value: 1}, Arg{Op: Less, Value: 5})),
	} {
		_, err := p.Marshal()
		require.ErrorContains(t, err, want)
		_, err = json.Marshal(p)
		require.ErrorContains(t, err, want)
	}
	// What can be said with one condition is.
	p := policy(allowing(Arg{Op: MaskedEqual, Value: 1, ValueTwo: 1}, Arg{Op: MaskedEqual, Value: 2}, Arg{Op: Greater, Value: 0}, Arg{Index: 1, Op: Equal, Value: 7}, Arg{Index: 1, Op: Less, Value: 8}))
	p.Rules[0].Args = p.Rules[0].Args[:2]
	assert.Equal(t, "allow read if arg0 & 0x3 == 0x1", strings.Split(requireRoundTrip(t, p).String(), "\n")[2])
}

func TestMarshalWithinJSON(t *testing.T) {
	type config struct {
		Name   string
		Policy Policy
	}
	text, err := json.Marshal(config{"a", Strict()})
	require.NoError(t, err)
	var back config
	require.NoError(t, json.Unmarshal(text, &back))
	assert.Equal(t, Strict().String(), back.Policy.String())
	err = json.Unmarshal([]byte(`{"Policy": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["opne"], "action": "SCMP_ACT_LOG"}]}}`), &back)
	require.ErrorIs(t, err, ErrUnknownCall)
	assert.Equal(t, Strict().String(), back.Policy.String(), "a mistake changes nothing")
}

func TestPortable(t *testing.T) {
	require.NoError(t, policy(allowing(Arg{Op: Equal, Value: 1}), allowing(Arg{Op: Equal, Value: 2})).Portable())
	require.NoError(t, Default().With(Rule{Names: []string{"ioctl"}, Action: Allow}).Portable())
	apart := policy(allowing(Arg{Op: Less, Value: 5}), Rule{Names: []string{"read"}, Action: Trap, Args: []Arg{{Op: Greater, Value: 7}}})
	require.NoError(t, apart.Portable())
	for name, p := range map[string]Policy{
		"ioctl: what rules": Default(),
		"read: what rules 0 and 1 say depends on their order": policy(Rule{Names: []string{"read"}, Action: Trap, Args: []Arg{{Op: Greater, Value: 7}}}, allowing()),
		"default action":      {},
		"bind: on 386 ":       {Default: Errno(eperm), SubArches: []Arch{I386}, Rules: []Rule{{Names: []string{"bind"}, Action: Allow}}},
		"rule 0, \"shmat\": ": {Default: Allow, SubArches: []Arch{I386}, Rules: []Rule{{Names: []string{"shmat"}}}},
	} {
		err := p.Portable()
		require.ErrorContains(t, err, name)
	}
}

func FuzzRoundTrip(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Add(uint64(300), uint64(17))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		random := rand.New(rand.NewPCG(a, b))
		p := validPolicy(random)
		p.Unknown = p.parsedUnknown()
		if _, err := p.Marshal(); err == nil {
			requireSameMeaning(t, p, requireRoundTrip(t, p), random)
		}
	})
}
