//go:build linux

package plan

import (
	"encoding/binary"
	"errors"
	"syscall"
)

// The encoded form leaves out the names: the zygote reports an index, the host program knows the rest.

const (
	codecVersion = 2
	maxSteps     = 1 << 15
	maxData      = 64 << 20
)

var errCodec = errors.New("plan: malformed encoding")

// Encode returns the plan's wire form, without its base.
func (p *Plan) Encode() []byte {
	e := encoder{buf: make([]byte, 0, 64+(len(p.Parent)+len(p.Child))*80+len(p.Data))}
	e.u32(codecVersion)
	e.u32(uint32(p.Exec))
	e.u32(uint32(len(p.Regs)))
	e.regs(p.Inputs)
	e.regs(p.Outputs)
	e.steps(p.Parent)
	e.steps(p.Child)
	e.u32(uint32(len(p.Relocs)))
	for _, r := range p.Relocs {
		e.u32(r.At)
		e.u32(r.To)
	}
	e.u32(uint32(len(p.Patches)))
	for _, r := range p.Patches {
		e.u32(r.At)
		e.u32(uint32(r.Reg))
	}
	e.u32(uint32(len(p.Data)))
	e.buf = append(e.buf, p.Data...)
	return e.buf
}

// Decode reads what Encode wrote of a plan without a base; every index and offset in the result is within bounds.
func Decode(buf []byte) (*Plan, error) { return DecodeAfter(nil, buf) }

// DecodeAfter is Decode for a plan with that base, which must have been decoded itself.
func DecodeAfter(base *Plan, buf []byte) (*Plan, error) {
	if base != nil && (base.Base != nil || len(base.Parent)+len(base.Patches) > 0) {
		return nil, errCodec
	}
	d := decoder{buf: buf}
	if d.u32() != codecVersion {
		return nil, errCodec
	}
	p := &Plan{Base: base, Exec: int(int32(d.u32()))}
	nregs := d.count(MaxRegs)
	p.Regs = make([]string, nregs)
	if base != nil {
		nregs += len(base.Regs)
	}
	if nregs > MaxRegs {
		return nil, errCodec
	}
	p.Inputs = d.regs(nregs)
	p.Outputs = d.regs(nregs)
	p.Parent = d.steps(nregs)
	p.Child = d.steps(nregs)
	p.Relocs = make([]Reloc, d.count(1<<20))
	for i := range p.Relocs {
		p.Relocs[i] = Reloc{d.u32(), d.u32()}
	}
	p.Patches = make([]Patch, d.count(MaxRegs))
	for i := range p.Patches {
		p.Patches[i] = Patch{d.u32(), d.reg(nregs)}
	}
	p.Data = d.take(d.count(maxData))
	if d.bad || len(d.buf) != 0 || !p.inBounds() {
		return nil, errCodec
	}
	return p, nil
}

func (p *Plan) inBounds() bool {
	if p.Exec < -1 || p.Exec >= p.Steps() && p.Exec != -1 {
		return false
	}
	size, regs, own := len(p.Data), len(p.Regs), 0
	if p.Base != nil {
		own = len(p.Base.Data)
		size, regs = size+own, regs+len(p.Base.Regs)
	}
	for _, r := range p.Relocs {
		// The base's data may be pointed at, but not written to.
		if int64(r.At) < int64(own) || int64(r.At)+8 > int64(size) || int64(r.To) >= int64(size) {
			return false
		}
	}
	for _, r := range p.Patches {
		if int64(r.At) < int64(own) || int64(r.At)+8 > int64(size) || r.Reg == None {
			return false
		}
	}
	for _, list := range [][]Step{p.Parent, p.Child} {
		for i, s := range list {
			if s.Skip < 0 || i+s.Skip >= len(list) {
				return false
			}
			if s.Stores && (s.Store.Value < int64(own) || s.Store.Value+4 > int64(size)) {
				return false
			}
			for _, a := range s.Args {
				if a.Kind == Data && (a.Value < 0 || a.Value >= int64(size)) ||
					a.Kind == FromReg && (a.Value < 0 || a.Value >= int64(regs)) ||
					a.Kind == Control && (a.Value < 0 || a.Value > CellInner) || a.Kind > Control {
					return false
				}
			}
		}
	}
	return true
}

type encoder struct{ buf []byte }

func (e *encoder) u32(v uint32) { e.buf = binary.LittleEndian.AppendUint32(e.buf, v) }
func (e *encoder) i64(v int64)  { e.buf = binary.LittleEndian.AppendUint64(e.buf, uint64(v)) }

func (e *encoder) regs(list []Reg) {
	e.u32(uint32(len(list)))
	for _, r := range list {
		e.u32(uint32(r))
	}
}

func (e *encoder) steps(list []Step) {
	e.u32(uint32(len(list)))
	for i := range list {
		s := &list[i]
		flags := uint32(len(s.Args))
		for bit, on := range []bool{s.Soft, s.Fork, s.HasWant, s.Stores} {
			if on {
				flags |= 1 << (8 + bit)
			}
		}
		e.u32(flags)
		e.u32(uint32(s.Out))
		e.u32(uint32(s.Skip))
		e.i64(s.Nr)
		e.i64(s.Want)
		e.u32(uint32(s.Store.Value))
		e.u32(uint32(len(s.Errnos)))
		for _, n := range s.Errnos {
			e.u32(uint32(n))
		}
		for _, a := range s.Args {
			e.u32(uint32(a.Kind))
			e.i64(a.Value)
		}
	}
}

type decoder struct {
	buf []byte
	bad bool
}

func (d *decoder) take(n int) []byte {
	if d.bad || n > len(d.buf) {
		d.bad = true
		return nil
	}
	b := d.buf[:n:n]
	d.buf = d.buf[n:]
	return b
}

func (d *decoder) u32() uint32 {
	if b := d.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (d *decoder) i64() int64 {
	if b := d.take(8); b != nil {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return 0
}

func (d *decoder) count(limit int) int {
	n := int(d.u32())
	if n > limit || n > len(d.buf) {
		d.bad = true
		return 0
	}
	return n
}

func (d *decoder) reg(nregs int) Reg {
	r := Reg(int32(d.u32()))
	if r < None || int(r) >= nregs {
		d.bad = true
	}
	return r
}

func (d *decoder) regs(nregs int) []Reg {
	list := make([]Reg, d.count(MaxRegs))
	for i := range list {
		if list[i] = d.reg(nregs); list[i] == None {
			d.bad = true
		}
	}
	return list
}

func (d *decoder) steps(nregs int) []Step {
	list := make([]Step, d.count(maxSteps))
	for i := range list {
		s := &list[i]
		flags := d.u32()
		s.Soft, s.Fork, s.HasWant, s.Stores = flags&(1<<8) != 0, flags&(1<<9) != 0, flags&(1<<10) != 0, flags&(1<<11) != 0
		s.Out = d.reg(nregs)
		s.Skip = int(int32(d.u32()))
		s.Nr = d.i64()
		s.Want = d.i64()
		s.Store = Arg{Kind: Data, Value: int64(d.u32())}
		s.Errnos = make([]syscall.Errno, d.count(4))
		for j := range s.Errnos {
			s.Errnos[j] = syscall.Errno(d.u32())
		}
		nargs := int(flags & 0xff)
		if nargs > 6 || d.bad {
			d.bad = true
			return nil
		}
		s.Args = make([]Arg, nargs)
		for j := range s.Args {
			s.Args[j] = Arg{Kind: Kind(d.u32()), Value: d.i64()}
		}
	}
	return list
}
