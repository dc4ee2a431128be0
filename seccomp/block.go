package seccomp

// A block is code that decides one call by its arguments, or a call no rule names by its number. It always returns: the
// number search jumps to it and nothing comes back.

// target is where a jump of a condition goes, before positions are known.
type target uint8

const (
	onward   target = iota // to the next instruction
	holds                  // past this condition
	nextRule               // past this rule
)

// step is an instruction whose jumps are still targets.
type step struct {
	op     uint16
	k      uint32
	jt, jf target
}

// steps compiles a condition. The kernel's arguments are 64 bits wide and BPF's accumulator 32: the upper half is looked
// at first, the lower one where the upper does not decide.
func (a Arg) steps() []step {
	low, high := uint32(offArgs+8*a.Index), uint32(offArgs+8*a.Index+4) // little-endian, as both architectures are
	lowValue, highValue := uint32(a.Value), uint32(a.Value>>32)
	loadLow, loadHigh := step{op: opLoad, k: low}, step{op: opLoad, k: high}
	switch a.Op {
	case Equal:
		return []step{loadHigh, {opEqual, highValue, onward, nextRule}, loadLow, {opEqual, lowValue, onward, nextRule}}
	case NotEqual:
		return []step{loadHigh, {opEqual, highValue, onward, holds}, loadLow, {opEqual, lowValue, nextRule, onward}}
	case Greater, GreaterOrEqual:
		op := uint16(opAbove)
		if a.Op == GreaterOrEqual {
			op = opAtLeast
		}
		return []step{
			loadHigh,
			{opAbove, highValue, holds, onward},
			{opEqual, highValue, onward, nextRule},
			loadLow,
			{op, lowValue, onward, nextRule},
		}
	case Less, LessOrEqual:
		op := uint16(opAtLeast)
		if a.Op == LessOrEqual {
			op = opAbove
		}
		return []step{
			loadHigh,
			{opAbove, highValue, nextRule, onward},
			{opEqual, highValue, onward, holds},
			loadLow,
			{op, lowValue, nextRule, onward},
		}
	}
	return append(masked(loadHigh, highValue, uint32(a.ValueTwo>>32)), masked(loadLow, lowValue, uint32(a.ValueTwo))...)
}

// masked compares one half under a mask; a mask without bits always holds.
func masked(load step, mask, value uint32) []step {
	compare := step{opEqual, value, onward, nextRule}
	switch mask {
	case 0:
		return nil
	case ^uint32(0):
		return []step{load, compare}
	}
	return []step{load, {op: opAnd, k: mask}, compare}
}

// code compiles a rule: if all conditions hold return its action, else go on behind it.
func (r Rule) code() []insn {
	var steps []step
	var ends []int // for each step, the end of its condition
	for _, a := range r.Args {
		of := a.steps()
		steps = append(steps, of...)
		for range of {
			ends = append(ends, len(steps))
		}
	}
	code := make([]insn, 0, len(steps)+1)
	for pc, s := range steps {
		skip := func(t target) uint8 {
			switch t {
			case holds:
				return uint8(ends[pc] - pc - 1)
			case nextRule:
				return uint8(len(steps) - pc) // the return stands at len(steps)
			}
			return 0
		}
		code = append(code, insn{op: s.op, k: s.k, jt: skip(s.jt), jf: skip(s.jf)})
	}
	return append(code, ret(r.Action))
}

// rulesBlock tries rules in order. What is too long for the kernel is cut, and still too long for it.
func rulesBlock(rules []Rule, otherwise Action) []insn {
	var code []insn
	for _, r := range rules {
		code = append(code, r.code()...)
		if len(code) > maxInsns {
			return code
		}
		if len(r.Args) == 0 {
			return tidy(code)
		}
	}
	return tidy(append(code, ret(otherwise)))
}

// defaultBlock tells known calls from numbers that are none.
func defaultBlock(arch Arch, known, unknown Action) []insn {
	code := []insn{{op: opLoad, k: offNumber}}
	if arch == AMD64 { // x32 must not be let in by a policy that lets unknown numbers through
		code = append(code, insn{op: opAtLeast, k: x32Bit, jf: 1}, ret(noSuchCall))
	}
	spans := arch.spans()
	for i := len(spans) - 1; i >= 0; i-- { // from the top: a number above this span is in the gap over it
		code = append(code, insn{op: opAbove, k: spans[i][1], jf: 1}, ret(unknown))
		code = append(code, insn{op: opAtLeast, k: spans[i][0], jf: 1}, ret(known))
	}
	return append(code, ret(unknown))
}

// foreignBlock answers calls that are not of the architecture: x32 as if the kernel had none, others by death. Those of sub-architectures that the
// policy lets in are searched by code of this package: libseccomp makes rules for socketcall of those for socket, and for ipc likewise.
func (p Policy) foreignBlock(arch Arch) []insn {
	var a assembler
	subs := a.besides(p, arch)
	if other := a.foreign(subs); arch == AMD64 {
		a.branch(opEqual, uint32(arch), a.block([]insn{ret(noSuchCall)}), other)
	} else if len(subs) == 0 {
		return a.program()
	}
	a.load(offArch)
	return a.program()
}

func ret(a Action) insn { return insn{op: opReturn, k: uint32(a)} }

const (
	// x32Bit marks the numbers of the x32 ABI, which comes by amd64's own entry (asm/unistd.h, __X32_SYSCALL_BIT).
	x32Bit = 0x40000000
	// noSuchCall is what a kernel answers to numbers it does not have.
	noSuchCall = errnoAction | Action(enosys)
)
