package seccomp

import (
	"context"
	"errors"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Decide is held against the interpreter of the tests, which shares nothing with it.
func TestDecide(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := []uint64{0, 1, 2, 10, 16, 0x10000, 0x5412, 0x7e020000, 0xffffffff, 1 << 32, 1<<32 | 2, ^uint64(0)}
	for _, p := range []Policy{Default(), Strict(), Build(), Network(), Default().WithDenied(KillProcess)} {
		prog, err := p.Compile()
		require.NoError(t, err)
		asked := prog.Supervised()
		require.Equal(t, prog.Len(), asked.Len())
		machine, askedMachine := newInterpreter(prog.Bytes()), newInterpreter(asked.Bytes())
		for range 20000 {
			c := Call{Arch: prog.Arch(), Number: r.Uint32N(500), IP: r.Uint64()}
			if r.IntN(20) == 0 {
				c.Arch, c.Number = []Arch{0x40000003, AMD64, ARM64}[r.IntN(3)], r.Uint32()
			}
			for i := range c.Args {
				c.Args[i] = values[r.IntN(len(values))]
			}
			data := callData{number: c.Number, arch: uint32(c.Arch), args: c.Args}.bytes()
			want, _, err := machine.run(data)
			require.NoError(t, err)
			require.Equal(t, Action(want), prog.Decide(c), "%v", c)
			// Asking takes the place of killing and of nothing else.
			loaded, _, err := askedMachine.run(data)
			require.NoError(t, err)
			if Action(want) == KillProcess {
				want = uint32(Ask)
			}
			require.Equal(t, Action(want), Action(loaded), "%v", c)
		}
	}
	assert.Equal(t, KillProcess, Program{}.Decide(Call{}), "no program lets anything through")
}

// Allows is true of a call that is allowed with all arguments, and of no other.
func TestAllows(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, p := range []Policy{Default(), Strict(), Build(), Network(), Default().WithDenied(KillProcess)} {
		prog, err := p.Compile()
		require.NoError(t, err)
		var some int
		for n := range uint32(500) {
			c := Call{Arch: prog.Arch(), Number: n, IP: r.Uint64(), Args: [6]uint64{r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64(), r.Uint64()}}
			if prog.Allows(n) {
				some++
				require.Equal(t, Allow, prog.Decide(c), "%v", c)
			}
		}
		assert.Positive(t, some)
	}
	prog, err := Default().Compile()
	require.NoError(t, err)
	unix := nativeCall("socket", syscall.AF_UNIX)
	assert.Equal(t, Allow, prog.Decide(unix))
	assert.False(t, prog.Allows(unix.Number), "not with every argument")
	assert.False(t, Program{}.Allows(0))
}

func TestCallText(t *testing.T) {
	number := func(name string) uint32 { n, _ := NativeArch().Number(name); return n }
	native := NativeArch()
	for want, c := range map[string]Call{
		"openat(dirfd=-100, path=0x7f00, flags=O_RDONLY|O_CLOEXEC, mode=0)":                      {Arch: native, Number: number("openat"), Args: [6]uint64{0xffffff9c, 0x7f00, 0x80000}},
		"openat(dirfd=3, path=NULL, flags=O_RDWR|O_CREAT|O_TRUNC, mode=0644)":                    {Arch: native, Number: number("openat"), Args: [6]uint64{3, 0, 0x242, 0o644}},
		"socket(family=AF_NETLINK, type=SOCK_RAW, protocol=9)":                                   {Arch: native, Number: number("socket"), Args: [6]uint64{16, 3, 9}},
		"socket(family=family 77, type=0x9, protocol=0)":                                         {Arch: native, Number: number("socket"), Args: [6]uint64{77, 9}},
		"unshare(flags=CLONE_NEWNS|CLONE_NEWUSER|0x1000)":                                        {Arch: native, Number: number("unshare"), Args: [6]uint64{0x10021000}},
		"clone(flags=CLONE_VM|signal 17, stack=NULL, parent_tid=NULL, child_tid=NULL, tls=NULL)": {Arch: native, Number: number("clone"), Args: [6]uint64{0x111}},
		"mprotect(addr=0x1000, len=4096, prot=PROT_WRITE|PROT_EXEC)":                             {Arch: native, Number: number("mprotect"), Args: [6]uint64{0x1000, 4096, 6}},
		"getpid()": {Arch: native, Number: number("getpid"), Args: [6]uint64{1, 2, 3}},
		"acct(arg0=0x1, arg1=0x2, arg2=0x0, arg3=0x0, arg4=0x0, arg5=0x0)":        {Arch: native, Number: number("acct"), Args: [6]uint64{1, 2}},
		"call 4000(arg0=0x0, arg1=0x0, arg2=0x0, arg3=0x0, arg4=0x0, arg5=0x0)":   {Arch: native, Number: 4000},
		"386: getpid(arg0=0x0, arg1=0x0, arg2=0x0, arg3=0x0, arg4=0x0, arg5=0x0)": {Arch: 0x40000003, Number: 20},
	} {
		assert.Equal(t, want, c.String())
	}
}

func TestHandled(t *testing.T) {
	f := func(Call) Answer { return Continue() }
	p, err := Default().Handled(Notify("ptrace", f))
	require.NoError(t, err)
	prog, err := p.Compile()
	require.NoError(t, err)
	n, _ := prog.Arch().Number("ptrace")
	assert.Equal(t, Ask, prog.Decide(Call{Arch: prog.Arch(), Number: n}))
	assert.Equal(t, Default().String(), func() string { p, _ := Default().Handled(); return p.String() }(), "nothing changes without")

	// Conditions of the policy's own stay.
	own := Default().With(Rule{Names: []string{"mkdir"}, Action: Ask, Args: []Arg{{Index: 1, Op: Equal, Value: 7}}}, Rule{Names: []string{"mkdir"}, Action: Allow})
	p, err = own.Handled(Notify("mkdir", f))
	require.NoError(t, err)
	assert.Equal(t, own.String(), p.String())

	for _, c := range []struct {
		policy   Policy
		handlers []Handler
		err      error
	}{
		{Default(), []Handler{Notify("opne", f)}, ErrUnknownCall},
		{Default(), []Handler{Notify("open", nil)}, ErrInvalid},
		{Default(), []Handler{Notify("open", f), Notify("open", f)}, ErrConflict},
		{Default(), []Handler{Notify("open", f).Within(-1)}, ErrInvalid},
		{own, nil, ErrInvalid},
		{own, []Handler{Notify("open", f)}, ErrInvalid},
		{Default().WithDenied(Ask), []Handler{Notify("open", f)}, ErrInvalid},
		{Policy{Default: Errno(1), Unknown: Ask, Rules: []Rule{{Names: []string{"read"}, Action: Allow}}}, nil, ErrInvalid},
	} {
		_, err := c.policy.Handled(c.handlers...)
		assert.ErrorIs(t, err, c.err)
		t.Log(err)
	}
	_, err = Default().WithDenied(Ask).Handled(Notify(EveryCall, f))
	assert.NoError(t, err)
}

// made is a trial that makes these calls.
func made(calls ...Call) Trial {
	return func(ctx context.Context, p Policy, handlers ...Handler) error {
		prog, err := p.Compile()
		if err != nil {
			return err
		}
		for _, c := range calls {
			if prog.Decide(c) != Ask {
				return errors.New("not asked about")
			}
			s := &Supervisor{Handlers: handlers}
			h, ok := s.handler(c)
			if !ok {
				return errors.New("nobody answers")
			}
			h.answer(c)
		}
		return nil
	}
}

func nativeCall(name string, args ...uint64) Call {
	n, _ := NativeArch().Number(name)
	c := Call{Arch: NativeArch(), Number: n}
	copy(c.Args[:], args)
	return c
}

func TestLearned(t *testing.T) {
	ctx := context.Background()
	first := []Call{
		nativeCall("socket", 1, 1), nativeCall("ioctl", 0, 0x5401), nativeCall("openat", 3, 0, 0), nativeCall("mprotect", 0, 0, 5),
		nativeCall("ptrace", 16), nativeCall("clone3"), nativeCall("clone", 0x10000000), nativeCall("setpriority"),
	}
	exact, err := Learner{Exact: true}.Learn(ctx, made(first...))
	require.NoError(t, err)
	decide := func(l *Learned, name string, args ...uint64) Action {
		t.Helper()
		p := l.Policy()
		prog, err := p.Compile()
		require.NoError(t, err, "%v", p)
		return prog.Decide(nativeCall(name, args...))
	}
	eperm, enosys := Errno(syscall.EPERM), Errno(syscall.ENOSYS)
	for _, c := range []struct {
		want Action
		name string
		args []uint64
	}{
		{Allow, "socket", []uint64{1, 1 | 0x80000}},
		{eperm, "socket", []uint64{1, 2}},
		{eperm, "socket", []uint64{2, 1}},
		{Allow, "ioctl", []uint64{5, 0x5401}},
		{Allow, "ioctl", []uint64{5, 0x100005401}},
		{eperm, "ioctl", []uint64{5, 0x5402}},
		{Allow, "openat", []uint64{3, 0, 0x80000}},
		{eperm, "openat", []uint64{3, 0, 1}},
		{eperm, "openat", []uint64{3, 0, 0x40}},
		{Allow, "mprotect", []uint64{0, 0, 4}},
		{eperm, "mprotect", []uint64{0, 0, 7}},
		{eperm, "mprotect", []uint64{0, 0, 2}},
		{eperm, "ptrace", []uint64{16}},
		{enosys, "clone3", nil},
		{eperm, "clone", []uint64{0x10000000}},
		{eperm, "clone", []uint64{0}},
		{Allow, "setpriority", nil},
		{eperm, "getpriority", nil},
		{eperm, "read", nil},
		{enosys, "statmount", nil},
	} {
		assert.Equal(t, c.want, decide(exact, c.name, c.args...), "%s %#x", c.name, c.args)
	}
	report := exact.Report()
	assert.Contains(t, report, "ptrace(0x10): 1 time, refused. Other processes.")
	assert.Contains(t, report, "clone(CLONE_NEWUSER): 1 time, refused.")
	assert.NotContains(t, report, "default policy does not")
	assert.NotContains(t, report, "unseen")

	// With companions there is more, but nothing that the base refuses.
	wide, err := Learn(ctx, made(first...))
	require.NoError(t, err)
	assert.Equal(t, Allow, decide(wide, "read"))
	assert.Equal(t, Allow, decide(wide, "ioctl", 0, 0x5413))
	assert.Equal(t, eperm, decide(wide, "ioctl", 0, 0x5412))
	assert.Equal(t, eperm, decide(wide, "openat", 3, 0, 1))
	assert.Equal(t, eperm, decide(wide, "socket", 2, 1))
	all, err := Default().Compile()
	require.NoError(t, err)
	prog, err := wide.Policy().Compile()
	require.NoError(t, err)
	for _, name := range NativeArch().Names() {
		for _, v := range []uint64{0, 1, 2, 4, 6, 16, 0x5412, 0x5413, 0x10000000, 1 << 32} {
			for i := range 3 {
				var args [6]uint64
				args[i] = v
				if c := nativeCall(name, args[:]...); prog.Decide(c) == Allow {
					assert.Equal(t, Allow, all.Decide(c), "%v", c)
				}
			}
		}
	}

	// What a wider base lets through is said.
	base := Default().Allow("ptrace")
	traced, err := Learner{Base: base}.Learn(ctx, made(nativeCall("ptrace", 16)))
	require.NoError(t, err)
	assert.Equal(t, Allow, decide(traced, "ptrace", 16))
	assert.Equal(t, eperm, decide(traced, "ptrace", 0))
	assert.Contains(t, traced.Report(), "although the default policy does not:\n  ptrace(0x10): 1 time\n")

	// Runs add up, under one base.
	more, err := Learn(ctx, made(nativeCall("socket", 2, 1)), made(nativeCall("setpriority")))
	require.NoError(t, err)
	require.NoError(t, wide.Merge(more))
	assert.Equal(t, 3, wide.Runs())
	assert.Equal(t, Allow, decide(wide, "socket", 2, 1))
	assert.Contains(t, wide.Report(), "setpriority: 2 times")
	assert.Error(t, wide.Merge(traced))

	// A policy of nothing is one that allows nothing.
	none, err := Learner{Exact: true}.Learn(ctx, made())
	require.NoError(t, err)
	assert.Equal(t, eperm, decide(none, "exit_group"))
	_, err = Learn(ctx)
	assert.Error(t, err)
	half, err := Learn(ctx, made(nativeCall("read")), func(context.Context, Policy, ...Handler) error { return context.Canceled })
	assert.ErrorIs(t, err, context.Canceled)
	assert.Len(t, half.Uses(), 1)

	// It is written in the form that Parse reads.
	text, err := wide.Policy().Marshal()
	require.NoError(t, err)
	assert.Contains(t, string(text), "SCMP_ACT_ALLOW")
}
