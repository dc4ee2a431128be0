package seccomp

import (
	"errors"
	"math"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func allowing(args ...Arg) Rule {
	return Rule{Names: []string{"read"}, Action: Allow, Args: args}
}

func policy(rules ...Rule) Policy {
	return Policy{Default: Errno(syscall.EPERM), Rules: rules}
}

func TestValidate(t *testing.T) {
	equal := func(v uint64) Arg { return Arg{Op: Equal, Value: v} }
	many := make([]Arg, maxArgs+1)
	for i := range many {
		many[i] = Arg{Op: NotEqual, Value: uint64(i)}
	}
	for name, c := range map[string]struct {
		policy Policy
		err    error
		text   string
	}{
		"zero":             {Policy{}, ErrEmpty, "seccomp: empty policy: no default action"},
		"no rule":          {policy(), ErrEmpty, "seccomp: empty policy: no rule"},
		"no name":          {policy(Rule{Action: Allow}), ErrInvalid, "seccomp: rule 0: invalid policy: no name"},
		"unknown name":     {policy(allowing(), Rule{Names: []string{"write", "opne\n"}, Action: Allow}), ErrUnknownCall, `seccomp: rule 1, "opne\n": unknown system call`},
		"name's case":      {policy(Rule{Names: []string{"READ"}, Action: Allow}), ErrUnknownCall, `"READ"`},
		"empty name":       {policy(Rule{Names: []string{""}, Action: Allow}), ErrUnknownCall, "rule 0: unknown"},
		"no action":        {policy(Rule{Names: []string{"read"}}), ErrInvalid, "no action"},
		"odd action":       {policy(Rule{Names: []string{"read"}, Action: 7}), ErrInvalid, "unknown action 0x7"},
		"odd default":      {Policy{Default: 7, Rules: []Rule{allowing()}}, ErrInvalid, "default: unknown action 0x7"},
		"odd unknown":      {Policy{Default: Allow, Unknown: 7, Rules: []Rule{allowing()}}, ErrInvalid, "unknown: unknown action 0x7"},
		"great errno":      {Policy{Default: Errno(70000), Rules: []Rule{allowing()}}, ErrInvalid, "errno 65535"},
		"errno 4096":       {Policy{Default: Errno(4096), Rules: []Rule{allowing()}}, ErrInvalid, "errno 65535"},
		"index 6":          {policy(allowing(Arg{Index: 6, Op: Equal})), ErrInvalid, "argument index 6 is not in 0 to 5"},
		"index -1":         {policy(allowing(Arg{Index: -1, Op: Equal})), ErrInvalid, "argument index -1"},
		"no comparison":    {policy(allowing(Arg{})), ErrInvalid, "unknown comparison 0"},
		"odd comparison":   {policy(allowing(Arg{Op: 8})), ErrInvalid, "unknown comparison 8"},
		"second value":     {policy(allowing(Arg{Op: Equal, ValueTwo: 1})), ErrInvalid, "second value 0x1"},
		"outside mask":     {policy(allowing(Arg{Op: MaskedEqual, Value: 1, ValueTwo: 2})), ErrInvalid, "never holds"},
		"below 0":          {policy(allowing(Arg{Op: Less})), ErrInvalid, "arg0 < 0x0 never holds"},
		"above all":        {policy(allowing(Arg{Op: Greater, Value: math.MaxUint64})), ErrInvalid, "never holds"},
		"too many":         {policy(allowing(many...)), ErrTooLarge, "33 comparisons, at most 32"},
		"two values":       {policy(allowing(equal(1), equal(2))), ErrConflict, "arg0 == 0x1 and arg0 == 0x2"},
		"value, mask":      {policy(allowing(equal(1), Low32(0, 2))), ErrConflict, "arg0 & 0xffffffff == 0x2"},
		"two actions":      {policy(allowing(), Rule{Names: []string{"read"}, Action: Log}), ErrConflict, `seccomp: rule 1, "read": contradictory rules: log here, allow in rule 0`},
		"same conditions":  {policy(allowing(equal(1)), Rule{Names: []string{"read"}, Action: Log, Args: []Arg{equal(1)}}), ErrConflict, "rule 1"},
		"never reached":    {policy(allowing(), Rule{Names: []string{"read"}, Action: Log, Args: []Arg{equal(1)}}), ErrConflict, "rule 1"},
		"twice":            {policy(allowing(), allowing(), allowing(equal(1))), nil, ""},
		"exception first":  {policy(Rule{Names: []string{"read"}, Action: Log, Args: []Arg{equal(1)}}, allowing()), nil, ""},
		"different values": {policy(allowing(equal(1)), Rule{Names: []string{"read"}, Action: Log, Args: []Arg{equal(2)}}), nil, ""},
		"masks apart":      {policy(allowing(Arg{Op: MaskedEqual, Value: 1, ValueTwo: 1}, Arg{Op: MaskedEqual, Value: 2})), nil, ""},
		"foreign name":     {policy(Rule{Names: []string{"socketcall", "s390_pci_mmio_read", "set_tls", "chown32"}, Action: Allow}), nil, ""},
		"default":          {Default(), nil, ""},
		"default, kill":    {Default().WithDenied(KillProcess), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.policy.Validate()
			if c.err == nil {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, c.err)
			var e *PolicyError
			require.ErrorAs(t, err, &e)
			assert.ErrorContains(t, err, c.text)
		})
	}
}

func TestErrUnsupportedIsErrors(t *testing.T) {
	require.ErrorIs(t, ErrUnsupported, errors.ErrUnsupported)
}

func TestMethodsCopy(t *testing.T) {
	original := Default()
	before := original.String()
	for _, p := range []Policy{
		original.Clone(), original.With(Rule{Names: []string{"ptrace"}, Action: Allow}), original.Without("read"),
		original.Allow("mount"), original.WithDenied(KillProcess),
	} {
		for i := range p.Rules {
			p.Rules[i].Action = Trap
			for j := range p.Rules[i].Names {
				p.Rules[i].Names[j] = "spoiled"
			}
			for j := range p.Rules[i].Args {
				p.Rules[i].Args[j] = Arg{}
			}
		}
	}
	assert.Equal(t, before, original.String())
	assert.Equal(t, before, Default().String(), "Default hands out its own memory")
}

func TestWithTakesNoMemoryOfItsRules(t *testing.T) {
	r := Rule{Names: []string{"ptrace"}, Action: Allow, Args: []Arg{{Op: Equal, Value: 1}}}
	p := Default().With(r)
	r.Names[0], r.Args[0].Value = "mount", 2
	last := p.Rules[len(p.Rules)-1]
	assert.Equal(t, "allow ptrace if arg0 == 0x1", last.String())
}

func TestWith(t *testing.T) {
	d := callData{number: mustNumber(t, "ioctl"), arch: uint32(NativeArch())}
	d.args[1] = tiocsti
	p := Default()
	assert.Equal(t, Errno(syscall.EPERM), meaning(p, NativeArch(), d))
	assert.Equal(t, Allow, meaning(p.Allow("ioctl"), NativeArch(), d))
	assert.Equal(t, Errno(syscall.EACCES), meaning(p.With(Rule{Names: []string{"ioctl"}, Action: Errno(syscall.EACCES)}), NativeArch(), d))
	d.args[1] = 0
	assert.Equal(t, Allow, meaning(p, NativeArch(), d))
	assert.Equal(t, Errno(syscall.EPERM), meaning(p.Without("ioctl"), NativeArch(), d))
}

func TestWithDenied(t *testing.T) {
	p := Default().WithDenied(KillProcess)
	decide := func(name string, args ...uint64) Action {
		d := callData{number: mustNumber(t, name), arch: uint32(NativeArch())}
		copy(d.args[:], args)
		return meaning(p, NativeArch(), d)
	}
	assert.Equal(t, KillProcess, decide("ptrace"))
	assert.Equal(t, KillProcess, decide("ioctl", 0, tiocsti))
	assert.Equal(t, KillProcess, decide("socket", 16))
	assert.Equal(t, Allow, decide("socket", 1))
	assert.Equal(t, Errno(syscall.ENOSYS), decide("clone3"))
	assert.Equal(t, Errno(syscall.ENOSYS), p.Unknown)

	unset := Policy{Default: Errno(syscall.ENOSYS), Rules: []Rule{allowing()}}.WithDenied(KillProcess)
	assert.Equal(t, Errno(syscall.ENOSYS), unset.Unknown, "unknown numbers keep their answer even where it was the denied one")
}

func TestString(t *testing.T) {
	p := Policy{Default: Errno(syscall.EPERM), Rules: []Rule{
		{Names: []string{"read", "write"}, Action: Allow},
		{Names: []string{"socket"}, Action: KillProcess, Args: []Arg{{Op: GreaterOrEqual, Value: 3}, Low32(1, 2)}},
	}}
	assert.Equal(t, strings.Join([]string{
		"default: errno 1", "unknown: errno 38", "allow read write",
		"kill process socket if arg0 >= 0x3 and arg1 & 0xffffffff == 0x2", "",
	}, "\n"), p.String())
	for action, want := range map[Action]string{0: "no action", Trap: "trap", Log: "log", 7: "unknown action 0x7"} {
		assert.Equal(t, want, action.String())
	}
	e, ok := Errno(syscall.EACCES).Errno()
	assert.True(t, ok)
	assert.Equal(t, syscall.EACCES, e)
	_, ok = Allow.Errno()
	assert.False(t, ok)
}

func mustNumber(t testing.TB, name string) uint32 {
	t.Helper()
	n, ok := NativeArch().Number(name)
	require.True(t, ok, "%s is no call of %s", name, NativeArch())
	return n
}
