//go:build linux

package plan

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// everything is a plan that uses all there is.
func everything() *Plan {
	b := NewBuilder()
	b.Stage("one")
	in, out := b.Input("in"), b.Reg("out")
	b.InParent(func() {
		words := b.Words("{w}", 1, 2, 3)
		b.Patch(words, 1, in)
		b.Call(unix.SYS_MOUNT_SETATTR, "mount_setattr", "/a", R(in), b.Str(""), words).Tolerate(unix.EINVAL, unix.EPERM)
	})
	b.Call(unix.SYS_CLONE3, "clone3", "process", Cell(CellInner), Int(88)).Fork = true
	b.Call(unix.SYS_OPENAT, "openat", "/a", CWD, b.Str("/a"), Int(-1), Zero).To(out).Tolerate(unix.ENOENT).Skipping(1)
	b.Call(unix.SYS_WRITE, "write", "/a", R(out), b.Bytes([]byte("data"), "data"), Int(4)).Wanting(4)
	b.Call(unix.SYS_SECCOMP, "seccomp", "filter", Int(1), Zero, b.Filter(make([]byte, 24)))
	b.Exec()
	b.Call(unix.SYS_EXECVE, "execve", "/b", b.Str("/b"), b.Strings([]string{"b", ""}), b.Strings(nil))
	b.Output(out)
	return b.Plan()
}

// bare leaves out what is not encoded.
func bare(p *Plan) *Plan {
	q := *p
	q.Regs = make([]string, len(p.Regs))
	strip := func(list []Step) []Step {
		var out []Step
		for _, s := range list {
			s.Stage, s.Call, s.Object = "", "", ""
			args := append([]Arg(nil), s.Args...)
			for i := range args {
				args[i].Text = ""
			}
			s.Args = args
			out = append(out, s)
		}
		return out
	}
	q.Parent, q.Child = strip(p.Parent), strip(p.Child)
	return &q
}

func TestCodec(t *testing.T) {
	p := everything()
	got, err := Decode(p.Encode())
	require.NoError(t, err)
	assert.Equal(t, bare(p).Encode(), got.Encode())
	assert.Equal(t, len(p.Child), len(got.Child))
	assert.Equal(t, p.Exec, got.Exec)
	assert.Equal(t, p.Relocs, got.Relocs)
	assert.Equal(t, p.Patches, got.Patches)
	assert.Equal(t, p.Data, got.Data)
	for i := range p.Child {
		a, b := bare(p).Child[i], got.Child[i]
		assert.Equal(t, [7]any{a.Nr, a.Out, a.Soft, a.Skip, a.Fork, a.Want, a.HasWant}, [7]any{b.Nr, b.Out, b.Soft, b.Skip, b.Fork, b.Want, b.HasWant}, p.Child[i].Call)
		assert.ElementsMatch(t, a.Errnos, b.Errnos)
		assert.ElementsMatch(t, a.Args, b.Args)
	}
}

// TestCodecTruncated cuts an encoded plan at every byte: none of it is a plan.
func TestCodecTruncated(t *testing.T) {
	buf := everything().Encode()
	for n := range buf {
		_, err := Decode(buf[:n])
		require.Error(t, err, n)
	}
	_, err := Decode(append(buf, 0))
	require.Error(t, err, "something follows")
}

// TestCodecBounds spoils one index at a time.
func TestCodecBounds(t *testing.T) {
	for name, spoil := range map[string]func(p *Plan){
		"exec":           func(p *Plan) { p.Exec = len(p.Child) },
		"negative exec":  func(p *Plan) { p.Exec = -2 },
		"input":          func(p *Plan) { p.Inputs[0] = Reg(len(p.Regs)) },
		"output none":    func(p *Plan) { p.Outputs[0] = None },
		"out":            func(p *Plan) { p.Child[1].Out = 99 },
		"skip":           func(p *Plan) { p.Child[1].Skip = len(p.Child) },
		"skip backwards": func(p *Plan) { p.Child[1].Skip = -1 },
		"register":       func(p *Plan) { p.Child[2].Args[0].Value = 99 },
		"data":           func(p *Plan) { p.Child[2].Args[1].Value = int64(len(p.Data)) },
		"negative data":  func(p *Plan) { p.Child[2].Args[1].Value = -1 },
		"cell":           func(p *Plan) { p.Child[0].Args[0].Value = CellInner + 1 },
		"kind":           func(p *Plan) { p.Child[0].Args[0].Kind = Control + 1 },
		"reloc at":       func(p *Plan) { p.Relocs[0].At = uint32(len(p.Data) - 7) },
		"reloc to":       func(p *Plan) { p.Relocs[0].To = uint32(len(p.Data)) },
		"patch at":       func(p *Plan) { p.Patches[0].At = 1<<32 - 1 },
		"patch register": func(p *Plan) { p.Patches[0].Reg = None },
		"arguments":      func(p *Plan) { p.Child[0].Args = make([]Arg, 7) },
		"errnos":         func(p *Plan) { p.Child[0].Errnos = append(p.Child[1].Errnos, 1, 2, 3, 4) },
		"registers":      func(p *Plan) { p.Regs = make([]string, MaxRegs+1) },
	} {
		t.Run(name, func(t *testing.T) {
			p := everything()
			spoil(p)
			_, err := Decode(p.Encode())
			require.Error(t, err)
		})
	}
}

func TestInject(t *testing.T) {
	p := everything()
	require.True(t, p.Inject(2, unix.EIO))
	require.True(t, p.Inject(-1, unix.EIO))
	require.False(t, p.Inject(len(p.Child), unix.EIO))
	require.False(t, p.Inject(-len(p.Parent)-1, unix.EIO))
	for _, i := range []int{2, -1} {
		s, ok := p.Step(i)
		require.True(t, ok)
		assert.EqualValues(t, -int(unix.EIO), s.Nr)
	}
	_, ok := p.Step(len(p.Child))
	assert.False(t, ok)
}

func TestString(t *testing.T) {
	text := everything().String()
	for _, want := range []string{
		`zygote  one         mount_setattr(in, "", {w}) ?EINVAL|EPERM`,
		`child   one         openat(AT_FDCWD, "/a", -1, 0) = out ?ENOENT skip 1`,
		`child   one         execve("/b", ["b", ""], [])`,
	} {
		assert.Contains(t, strings.Split(text, "\n"), want)
	}
}

// FuzzDecode: what is accepted is within bounds, so that it can be encoded, and means the same again.
func FuzzDecode(f *testing.F) {
	f.Add(everything().Encode())
	f.Add(NewBuilder().Plan().Encode())
	f.Add([]byte{1, 0, 0, 0})
	f.Fuzz(func(t *testing.T, buf []byte) {
		p, err := Decode(buf)
		if err != nil {
			return
		}
		_ = p.String()
		again, err := Decode(p.Encode())
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again.Encode(), p.Encode()) {
			t.Fatal("not the same again")
		}
	})
}
