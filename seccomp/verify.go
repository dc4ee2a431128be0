package seccomp

import "fmt"

// verify runs the number search over every number of the architecture, those beside them, x32 and foreign calls, and
// compares where each ends up with where it must. The search comes from a library of whatever version the host has, and
// numbers it lost would fall through to the commonest action, which is Allow for an allow-list. It costs less than a
// millisecond, once for each policy.
func (l *linker) verify(arch Arch, search []insn) error {
	check := func(arch Arch, number uint32, want label) error {
		value, err := run(search, arch, number)
		if err != nil {
			return fmt.Errorf("libseccomp: %s, call %d: %w", arch, number, err)
		}
		if got, ok := unmark(value); !ok || got != want {
			return fmt.Errorf("libseccomp: %s, call %d: returns %#x, not %#x", arch, number, value, markAction|uint32(want))
		}
		return nil
	}
	for number := range uint32(maxNumber) {
		want, ok := l.labels[number]
		if !ok {
			want = defaultLabel
		}
		if err := check(arch, number, want); err != nil {
			return err
		}
		if err := check(arch^foreignBit, number, foreignLabel); err != nil {
			return err
		}
		if arch == AMD64 {
			if err := check(arch, number|x32Bit, foreignLabel); err != nil {
				return err
			}
		}
	}
	return nil
}

const (
	// maxNumber is above every number of a table and leaves room for the next years' calls.
	maxNumber = 1024
	// foreignBit makes another architecture of one: it is the flag for 64 bits (linux/audit.h, __AUDIT_ARCH_64BIT).
	foreignBit = 0x80000000
)

// run executes instructions that look at nothing but architecture and number.
func run(code []insn, arch Arch, number uint32) (uint32, error) {
	var acc uint32
	for pc := 0; pc < len(code); pc++ {
		i := code[pc]
		holds := false
		switch i.op {
		case opReturn:
			return i.k, nil
		case opJump:
			pc += int(i.k)
			continue
		case opLoad:
			switch i.k {
			case offNumber:
				acc = number
			case offArch:
				acc = uint32(arch)
			default:
				return 0, fmt.Errorf("instruction %d reads byte %d", pc, i.k)
			}
			continue
		case opEqual:
			holds = acc == i.k
		case opAbove:
			holds = acc > i.k
		case opAtLeast:
			holds = acc >= i.k
		default:
			return 0, fmt.Errorf("instruction %d is %#x", pc, i.op)
		}
		if holds {
			pc += int(i.jt)
		} else {
			pc += int(i.jf)
		}
	}
	return 0, fmt.Errorf("no return")
}
