//go:build linux

package plan

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Builder collects the steps of a plan. The zero value is not ready; use NewBuilder.
type Builder struct {
	p      *Plan
	stage  string
	parent bool
	strs   map[string]uint32
}

// NewBuilder returns an empty plan's builder.
func NewBuilder() *Builder {
	return &Builder{p: &Plan{Exec: -1}, strs: map[string]uint32{}}
}

// After returns the builder of a plan that begins with base, which must not be changed any more.
func After(base *Plan) *Builder {
	b := NewBuilder()
	b.p.Base = base
	return b
}

// Plan returns what was built.
func (b *Builder) Plan() *Plan { return b.p }

// Stage names the steps that follow.
func (b *Builder) Stage(name string) { b.stage = name }

// InParent appends the steps added by f to the zygote's list.
func (b *Builder) InParent(f func()) {
	b.parent = true
	f()
	b.parent = false
}

// Reg allots a register.
func (b *Builder) Reg(name string) Reg {
	b.p.Regs = append(b.p.Regs, name)
	n := len(b.p.Regs) - 1
	if b.p.Base != nil {
		n += len(b.p.Base.Regs)
	}
	return Reg(n)
}

// Input allots a register for the next descriptor sent along with the plan.
func (b *Builder) Input(name string) Reg {
	r := b.Reg(name)
	b.p.Inputs = append(b.p.Inputs, r)
	return r
}

// Output marks a register whose descriptor goes back to the host program.
func (b *Builder) Output(r Reg) { b.p.Outputs = append(b.p.Outputs, r) }

// Exec says that the child's next step is its first execve.
func (b *Builder) Exec() { b.p.Exec = b.p.Steps() }

// Len is the number of the child's steps so far.
func (b *Builder) Len() int { return b.p.Steps() }

// Call appends a step; the returned pointer may be used to refine it until the next one is appended.
func (b *Builder) Call(nr int, call, object string, args ...Arg) *Step {
	s := Step{Stage: b.stage, Call: call, Object: object, Nr: int64(nr), Args: args, Out: None}
	list := &b.p.Child
	if b.parent {
		list = &b.p.Parent
	}
	*list = append(*list, s)
	return &(*list)[len(*list)-1]
}

// Last returns the child's latest step, to refine it.
func (b *Builder) Last() *Step { return &b.p.Child[len(b.p.Child)-1] }

// To stores the step's result in a register.
func (s *Step) To(r Reg) *Step { s.Out = r; return s }

// Tolerate lets the walk go on after one of these errors (any, if none is named).
func (s *Step) Tolerate(errnos ...syscall.Errno) *Step {
	s.Soft, s.Errnos = true, errnos
	return s
}

// Skipping passes over n following steps after a tolerated error.
func (s *Step) Skipping(n int) *Step { s.Skip = n; return s }

// Into also stores the step's result into the first four bytes that a Bytes argument points at.
func (s *Step) Into(data Arg, text string) *Step {
	s.Store, s.Stores = Arg{Kind: Data, Value: data.Value, Text: text}, true
	return s
}

// Wanting fails the step with ENOSPC unless its result is n.
func (s *Step) Wanting(n int) *Step { s.Want, s.HasWant = int64(n), true; return s }

// Int is a number.
func Int[T ~int | ~int32 | ~int64 | ~uint | ~uint32 | ~uint64](v T) Arg {
	return Arg{Kind: Imm, Value: int64(v)}
}

// Flag is a number that is printed by name.
func Flag(v uint64, text string) Arg {
	if v == 0 && text == "" {
		text = "0"
	}
	return Arg{Kind: Imm, Value: int64(v), Text: text}
}

// R is the value of a register.
func R(r Reg) Arg { return Arg{Kind: FromReg, Value: int64(r)} }

// Cell points at a cell of the launch.
func Cell(c int) Arg {
	return Arg{Kind: Control, Value: int64(c), Text: [...]string{"&pid", "&go", "&clone_args"}[c]}
}

// CWD is AT_FDCWD.
var CWD = Arg{Kind: Imm, Value: unix.AT_FDCWD, Text: "AT_FDCWD"}

// Null is a null pointer.
var Null = Arg{Kind: Imm, Text: "NULL"}

// Zero is a zero.
var Zero = Arg{Kind: Imm, Text: "0"}

// Str is a pointer to a NUL-terminated string.
func (b *Builder) Str(s string) Arg {
	return Arg{Kind: Data, Value: int64(b.str(s)), Text: strconv.Quote(s)}
}

func (b *Builder) str(s string) uint32 {
	if at, ok := b.strs[s]; ok {
		return at
	}
	at := b.end()
	b.p.Data = append(append(b.p.Data, s...), 0)
	b.strs[s] = at
	return at
}

// Bytes is a pointer to raw bytes, eight-byte aligned, printed as text.
func (b *Builder) Bytes(data []byte, text string) Arg {
	return Arg{Kind: Data, Value: int64(b.bytes(data)), Text: text}
}

func (b *Builder) bytes(data []byte) uint32 {
	for b.end()%8 != 0 {
		b.p.Data = append(b.p.Data, 0)
	}
	at := b.end()
	b.p.Data = append(b.p.Data, data...)
	return at
}

// end is the offset of what is added to the data area next.
func (b *Builder) end() uint32 {
	n := len(b.p.Data)
	if b.p.Base != nil {
		n += len(b.p.Base.Data)
	}
	return uint32(n)
}

// Words is a pointer to a struct of 64-bit words.
func (b *Builder) Words(text string, words ...uint64) Arg {
	buf := make([]byte, 0, len(words)*8)
	for _, w := range words {
		buf = binary.NativeEndian.AppendUint64(buf, w)
	}
	return b.Bytes(buf, text)
}

// Patch puts a register's value into the struct that a Words argument points at, as its n-th word.
func (b *Builder) Patch(words Arg, n int, r Reg) {
	b.p.Patches = append(b.p.Patches, Patch{At: uint32(words.Value) + uint32(8*n), Reg: r})
}

// Strings is a pointer to a NULL-terminated array of strings, as execve takes.
func (b *Builder) Strings(list []string) Arg {
	offs := make([]uint32, len(list))
	for i, s := range list {
		offs[i] = b.str(s)
	}
	at := b.bytes(make([]byte, 8*(len(list)+1)))
	for i, off := range offs {
		b.p.Relocs = append(b.p.Relocs, Reloc{At: at + uint32(8*i), To: off})
	}
	return Arg{Kind: Data, Value: int64(at), Text: quoteList(list)}
}

// Filter is a pointer to a struct sock_fprog for a compiled BPF program.
func (b *Builder) Filter(prog []byte) Arg {
	code := b.bytes(prog)
	n := len(prog) / 8
	head := make([]byte, 16)
	binary.NativeEndian.PutUint16(head, uint16(n))
	at := b.bytes(head)
	b.p.Relocs = append(b.p.Relocs, Reloc{At: at + 8, To: code})
	return Arg{Kind: Data, Value: int64(at), Text: fmt.Sprintf("{filter of %d instructions}", n)}
}

// Rights is a pointer to a struct msghdr that sends one descriptor, of a number that is known, with a byte of data (unix(7)).
func (b *Builder) Rights(fd int) Arg {
	data := b.bytes([]byte{0})
	iov := make([]byte, 16)
	iov[8] = 1
	vec := b.bytes(iov)
	b.p.Relocs = append(b.p.Relocs, Reloc{At: vec, To: data})
	rights := unix.UnixRights(fd)
	control := b.bytes(rights)
	head := make([]byte, 56)
	binary.NativeEndian.PutUint64(head[24:], 1)
	binary.NativeEndian.PutUint64(head[40:], uint64(len(rights)))
	at := b.bytes(head)
	b.p.Relocs = append(b.p.Relocs, Reloc{At: at + 16, To: vec}, Reloc{At: at + 32, To: control})
	return Arg{Kind: Data, Value: int64(at), Text: fmt.Sprintf("{descriptor %d}", fd)}
}

// Room is a pointer to a struct msghdr that receives a byte of data and up to n descriptors (unix(7)).
func (b *Builder) Room(n int) Arg {
	data := b.bytes(make([]byte, 8))
	iov := make([]byte, 16)
	iov[8] = 1
	vec := b.bytes(iov)
	b.p.Relocs = append(b.p.Relocs, Reloc{At: vec, To: data})
	size := unix.CmsgSpace(4 * n)
	control := b.bytes(make([]byte, size))
	head := make([]byte, 56)
	binary.NativeEndian.PutUint64(head[24:], 1)
	binary.NativeEndian.PutUint64(head[40:], uint64(size))
	at := b.bytes(head)
	b.p.Relocs = append(b.p.Relocs, Reloc{At: at + 16, To: vec}, Reloc{At: at + 32, To: control})
	return Arg{Kind: Data, Value: int64(at), Text: fmt.Sprintf("{%d descriptors}", n)}
}

// Jump appends a step that makes no call and passes over the n steps after it.
func (b *Builder) Jump(n int) {
	b.Call(-int(unix.EAGAIN), "jump", "steps").Tolerate(unix.EAGAIN).Skipping(n)
}

func quoteList(list []string) string {
	q := make([]string, len(list))
	for i, s := range list {
		q[i] = strconv.Quote(s)
	}
	return "[" + strings.Join(q, ", ") + "]"
}

// ErrnoName is the symbolic name of an errno.
func ErrnoName(e syscall.Errno) string {
	if n := unix.ErrnoName(e); n != "" {
		return n
	}
	return fmt.Sprintf("errno %d", int(e))
}
