package seccomp

import (
	"encoding/binary"
	"fmt"
)

// callData is struct seccomp_data.
type callData struct {
	number uint32
	arch   uint32
	args   [6]uint64
}

func (d callData) bytes() []byte {
	b := make([]byte, 0, 64)
	b = binary.LittleEndian.AppendUint32(b, d.number)
	b = binary.LittleEndian.AppendUint32(b, d.arch)
	b = binary.LittleEndian.AppendUint64(b, 0x1122334455667788) // instruction pointer: no program may care
	for _, a := range d.args {
		b = binary.LittleEndian.AppendUint64(b, a)
	}
	return b
}

// interpreter runs classic BPF from its raw bytes, written from the machine's description (kernel:
// Documentation/networking/filter.rst) and sharing nothing with the package. It refuses what the kernel's checker
// refuses: jumps out of the program, loads that are not aligned words of seccomp_data, a program that can end without a
// return.
type interpreter struct{ code []word }

type word struct {
	op     uint16
	jt, jf int
	k      uint32
}

func newInterpreter(raw []byte) interpreter {
	var m interpreter
	for ; len(raw) >= 8; raw = raw[8:] {
		m.code = append(m.code, word{
			op: binary.LittleEndian.Uint16(raw), jt: int(raw[2]), jf: int(raw[3]), k: binary.LittleEndian.Uint32(raw[4:]),
		})
	}
	return m
}

func (m interpreter) run(data []byte) (result uint32, steps int, err error) {
	var a uint32
	for pc := 0; pc < len(m.code); pc++ {
		steps++
		i := m.code[pc]
		taken := false
		switch i.op {
		case 0x20:
			if i.k%4 != 0 || int(i.k)+4 > len(data) {
				return 0, steps, fmt.Errorf("pc %d: load from %d", pc, i.k)
			}
			a = binary.LittleEndian.Uint32(data[i.k:])
			continue
		case 0x54:
			a &= i.k
			continue
		case 0x06:
			return i.k, steps, nil
		case 0x05:
			pc += int(i.k)
			continue
		case 0x15:
			taken = a == i.k
		case 0x25:
			taken = a > i.k
		case 0x35:
			taken = a >= i.k
		case 0x45:
			taken = a&i.k != 0
		default:
			return 0, steps, fmt.Errorf("pc %d: instruction %#x", pc, i.op)
		}
		if taken {
			pc += i.jt
		} else {
			pc += i.jf
		}
	}
	return 0, steps, fmt.Errorf("ran off the end")
}
