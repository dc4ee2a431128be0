//go:build linux

package plan

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// based builds the same steps with a base and without.
func based(split bool) *Plan {
	b := NewBuilder()
	in, out := b.Input("in"), b.Reg("out")
	b.Call(unix.SYS_OPENAT, "openat", "/a", R(in), b.Str("/a"), Zero, Zero).To(out)
	filter := b.Filter(make([]byte, 16))
	if split {
		b = After(b.Plan())
	}
	b.Stage("two")
	attr := b.Bytes(make([]byte, 12), "attr")
	b.Call(unix.SYS_OPENAT, "openat", "/b", CWD, b.Str("/b"), Zero, Zero).To(b.Reg("other")).Into(Arg{Value: attr.Value + 8}, "fd")
	b.Call(unix.SYS_SECCOMP, "seccomp", "filter", Int(1), Zero, filter)
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", "/c", b.Str("/c"), b.Strings([]string{"c", "d"}), b.Strings(nil))
	return b.Plan()
}

func TestBase(t *testing.T) {
	p, whole := based(true), based(false)
	assert.Equal(t, whole.String(), p.String())
	assert.Equal(t, whole.Steps(), p.Steps())
	assert.Equal(t, whole.Exec, p.Exec)
	for i := range whole.Steps() {
		a, _ := whole.Step(i)
		b, ok := p.Step(i)
		require.True(t, ok)
		assert.Equal(t, a.Call+a.Object, b.Call+b.Object)
	}
	_, ok := p.Step(p.Steps())
	assert.False(t, ok)
	assert.Equal(t, whole.RegName(2), p.RegName(2))

	base, err := Decode(p.Base.Encode())
	require.NoError(t, err)
	got, err := DecodeAfter(base, p.Encode())
	require.NoError(t, err)
	assert.Equal(t, p.Whole().Encode(), got.Whole().Encode())
	_, err = Decode(p.Encode())
	assert.Error(t, err, "without its base it points out of bounds")
	_, err = DecodeAfter(got, p.Encode())
	assert.Error(t, err, "a base has no base")
}

// A plan may point into its base's data and write nothing there: others use it too.
func TestBaseBounds(t *testing.T) {
	for name, spoil := range map[string]func(p *Plan){
		"reloc":         func(p *Plan) { p.Relocs[0].At = 0 },
		"store":         func(p *Plan) { p.Child[0].Store.Value = int64(len(p.Base.Data) + len(p.Data) - 3) },
		"store in base": func(p *Plan) { p.Child[0].Store.Value = 0 },
		"data":          func(p *Plan) { p.Child[0].Args[1].Value = int64(len(p.Base.Data) + len(p.Data)) },
		"register":      func(p *Plan) { p.Child[0].Out = Reg(len(p.Base.Regs) + len(p.Regs)) },
		"registers":     func(p *Plan) { p.Regs = make([]string, MaxRegs-1) },
		"exec":          func(p *Plan) { p.Exec = p.Steps() },
	} {
		p := based(true)
		base, err := Decode(p.Base.Encode())
		require.NoError(t, err)
		_, err = DecodeAfter(base, p.Encode())
		require.NoError(t, err, "control")
		spoil(p)
		_, err = DecodeAfter(base, p.Encode())
		assert.Error(t, err, name)
	}
	parent := everything()
	_, err := DecodeAfter(parent, NewBuilder().Plan().Encode())
	assert.Error(t, err, "nothing for the parent in a base")
}
