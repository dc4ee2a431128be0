package seccomp

import "fmt"

// Op is a comparison of a call's argument with a value. Arguments are compared as unsigned 64-bit numbers.
type Op uint8

// The comparisons. Zero is none of them.
const (
	Equal Op = iota + 1
	NotEqual
	Less
	LessOrEqual
	Greater
	GreaterOrEqual
	// MaskedEqual compares the bits of the argument that Value has set with ValueTwo.
	MaskedEqual
)

var opSigns = [...]string{Equal: "==", NotEqual: "!=", Less: "<", LessOrEqual: "<=", Greater: ">", GreaterOrEqual: ">="}

// String is the operator's sign; "&" for MaskedEqual.
func (o Op) String() string {
	switch {
	case o == MaskedEqual:
		return "&"
	case o >= Equal && o < MaskedEqual:
		return opSigns[o]
	}
	return fmt.Sprintf("unknown comparison %d", uint8(o))
}

// Arg is a condition on one argument of a call.
//
// The kernel hands a filter the whole 64-bit register, but reads many arguments as 32-bit ones and ignores the upper
// half. A condition on such an argument must ignore it too, or the upper half slips past a refusal
// (CVE-2019-10063): see [Low32].
type Arg struct {
	Index    int    // 0 to 5
	Op       Op     // Equal and so on
	Value    uint64 // what to compare with; for MaskedEqual the mask
	ValueTwo uint64 // for MaskedEqual what the masked bits must be; otherwise unused
}

// Low32 is the condition that the lower half of an argument equals value: equality as the kernel sees it for int and
// unsigned int arguments.
func Low32(index int, value uint32) Arg {
	return Arg{Index: index, Op: MaskedEqual, Value: 0xffffffff, ValueTwo: uint64(value)}
}

// String prints the condition, arguments counted from 0: "arg0 == 0x2", "arg1 & 0xffffffff == 0x5412".
func (a Arg) String() string {
	if a.Op == MaskedEqual {
		return fmt.Sprintf("arg%d & %#x == %#x", a.Index, a.Value, a.ValueTwo)
	}
	return fmt.Sprintf("arg%d %s %#x", a.Index, a.Op, a.Value)
}

// check gives the reason a condition makes no sense, or "".
func (a Arg) check() string {
	switch {
	case a.Index < 0 || a.Index > 5:
		return fmt.Sprintf("argument index %d is not in 0 to 5", a.Index)
	case a.Op < Equal || a.Op > MaskedEqual:
		return a.Op.String()
	case a.Op != MaskedEqual && a.ValueTwo != 0:
		return fmt.Sprintf("second value %#x with comparison %s", a.ValueTwo, a.Op)
	case a.Op == MaskedEqual && a.ValueTwo&^a.Value != 0:
		return fmt.Sprintf("%s never holds: bits outside the mask", a)
	case a.Op == Less && a.Value == 0, a.Op == Greater && a.Value == ^uint64(0):
		return fmt.Sprintf("%s never holds", a)
	}
	return ""
}
