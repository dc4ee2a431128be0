//go:build linux

package plan

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Reg is the number of a register: a 64-bit cell that outlives the step which filled it.
type Reg int32

// None is the absence of a register.
const None Reg = -1

// MaxRegs bounds the register file of one plan.
const MaxRegs = 1024

// Kind tells what an Arg's value means.
type Kind uint8

// The kinds of arguments.
const (
	Imm     Kind = iota // the value itself
	Data                // an offset into the plan's data area
	FromReg             // the number of a register
	Control             // the number of a cell of the launch, see the Cell constants
)

// Cells of a launch that a step may point at.
const (
	CellPID   = iota // int32: PID of the launched process, written by the kernel before it runs
	CellGo           // uint32: 1 once the parent's steps are done
	CellInner        // the clone_args of the second process of a joining launch
)

// Arg is one argument of a system call.
type Arg struct {
	Kind  Kind
	Value int64
	Text  string // how the argument is printed
}

// Step is one system call.
type Step struct {
	Stage   string // what the call is part of: "root", "privileges", ...
	Call    string // the name of the system call
	Object  string // what it is done to, as a person would say it
	Nr      int64  // negative: no call is made, this is the result (fault injection)
	Args    []Arg
	Out     Reg             // receives the result unless None
	Soft    bool            // an error does not end the walk ...
	Errnos  []syscall.Errno // ... if it is one of these (at most four; empty: any)
	Skip    int             // steps passed over after a soft error
	Fork    bool            // the caller ends here, the new process goes on
	Want    int64           // with HasWant: any other result is ENOSPC (a short write)
	HasWant bool
	Store   Arg // of kind Data: the result, as an int32, is stored there too; a system call can then take it in a struct
	Stores  bool
}

// Reloc says that the eight bytes at offset At of the data area hold a pointer to offset To.
type Reloc struct{ At, To uint32 }

// Patch says that the eight bytes at offset At of the data area take the value of a register before the zygote's own steps.
type Patch struct {
	At  uint32
	Reg Reg
}

// Plan is what one launch does.
type Plan struct {
	// Base, if not nil, is what the plan begins with: its steps, data, registers and inputs come before those here, and indices and offsets count
	// both. Many plans may share a base, which is then never changed. It has no base itself and nothing for the parent.
	Base *Plan

	Parent  []Step // run by the zygote while the new process waits for CellGo
	Child   []Step // run by the new process
	Data    []byte
	Relocs  []Reloc
	Patches []Patch
	Regs    []string // names of the registers
	Inputs  []Reg    // the n-th descriptor sent along goes into the n-th register
	Outputs []Reg    // descriptors that go back to the host program, which then owns them
	Exec    int      // index of the child's first execve; -1: the child only walks and exits
}

// Step returns the step of an index that counts the child's steps from zero and the parent's from -1 downwards.
func (p *Plan) Step(i int) (Step, bool) {
	switch {
	case i >= 0 && i < p.Steps():
		if base := p.Steps() - len(p.Child); i >= base {
			return p.Child[i-base], true
		}
		return p.Base.Child[i], true
	case i < 0 && -i-1 < len(p.Parent):
		return p.Parent[-i-1], true
	}
	return Step{}, false
}

// Steps is the number of the child's steps, those of the base included.
func (p *Plan) Steps() int {
	if p.Base != nil {
		return len(p.Base.Child) + len(p.Child)
	}
	return len(p.Child)
}

// RegName is the name of a register, of the base or of the plan's own.
func (p *Plan) RegName(r Reg) string {
	if p.Base != nil {
		if int(r) < len(p.Base.Regs) {
			return p.Base.Regs[r]
		}
		r -= Reg(len(p.Base.Regs))
	}
	return p.Regs[r]
}

// Whole returns the plan without a base: itself, if it has none.
func (p *Plan) Whole() *Plan {
	b := p.Base
	if b == nil {
		return p
	}
	w := *p
	w.Base = nil
	w.Child = slices.Concat(b.Child, p.Child)
	w.Data = slices.Concat(b.Data, p.Data)
	w.Relocs = slices.Concat(b.Relocs, p.Relocs)
	w.Regs = slices.Concat(b.Regs, p.Regs)
	w.Inputs = slices.Concat(b.Inputs, p.Inputs)
	return &w
}

// Clone returns a copy whose steps can be changed.
func (p *Plan) Clone() *Plan {
	c := *p
	c.Parent, c.Child = slices.Clone(p.Parent), slices.Clone(p.Child)
	return &c
}

// Inject makes the step of that index (see Step) fail with an errno without being executed. The plan must have no base.
func (p *Plan) Inject(i int, errno syscall.Errno) bool {
	switch {
	case i >= 0 && i < len(p.Child):
		p.Child[i].Nr = -int64(errno)
	case i < 0 && -i-1 < len(p.Parent):
		p.Parent[-i-1].Nr = -int64(errno)
	default:
		return false
	}
	return true
}

// String prints every step, one a line, those of the zygote first.
func (p *Plan) String() string { return p.StringAs("zygote", "child") }

// StringAs is String with other words for the two who walk it.
func (p *Plan) StringAs(parent, child string) string {
	p = p.Whole()
	var b strings.Builder
	for _, s := range p.Parent {
		fmt.Fprintf(&b, "%-8s%s\n", parent, p.line(s))
	}
	for _, s := range p.Child {
		fmt.Fprintf(&b, "%-8s%s\n", child, p.line(s))
	}
	return b.String()
}

func (p *Plan) line(s Step) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-11s %s(", s.Stage, s.Call)
	for i, a := range s.Args {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(p.arg(a))
	}
	b.WriteByte(')')
	if s.Out != None {
		b.WriteString(" = " + p.name(s.Out))
	}
	if s.Stores {
		b.WriteString(" -> " + p.arg(s.Store))
	}
	if s.Soft {
		b.WriteString(" ?")
		for i, e := range s.Errnos {
			if i > 0 {
				b.WriteByte('|')
			}
			b.WriteString(ErrnoName(e))
		}
		if s.Skip > 0 {
			fmt.Fprintf(&b, " skip %d", s.Skip)
		}
	}
	return b.String()
}

func (p *Plan) arg(a Arg) string {
	switch {
	case a.Text != "":
		return a.Text
	case a.Kind == FromReg:
		return p.name(Reg(a.Value))
	default:
		return fmt.Sprint(a.Value)
	}
}

// name is a register's name in one line: it may hold a path of the caller's.
func (p *Plan) name(r Reg) string {
	q := strconv.Quote(p.Regs[r])
	return q[1 : len(q)-1]
}
