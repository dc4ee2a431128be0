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
	b := binary.LittleEndian.AppendUint32(nil, d.number)
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
type interpreter struct{ raw []byte }

func (m interpreter) run(data []byte) (result uint32, steps int, err error) {
	var a uint32
	count := len(m.raw) / 8
	for pc := 0; pc < count; pc++ {
		steps++
		code := binary.LittleEndian.Uint16(m.raw[pc*8:])
		jt, jf := int(m.raw[pc*8+2]), int(m.raw[pc*8+3])
		k := binary.LittleEndian.Uint32(m.raw[pc*8+4:])
		taken := false
		switch code {
		case 0x20:
			if k%4 != 0 || int(k)+4 > len(data) {
				return 0, steps, fmt.Errorf("pc %d: load from %d", pc, k)
			}
			a = binary.LittleEndian.Uint32(data[k:])
			continue
		case 0x54:
			a &= k
			continue
		case 0x06:
			return k, steps, nil
		case 0x05:
			pc += int(k)
			continue
		case 0x15:
			taken = a == k
		case 0x25:
			taken = a > k
		case 0x35:
			taken = a >= k
		case 0x45:
			taken = a&k != 0
		default:
			return 0, steps, fmt.Errorf("pc %d: instruction %#x", pc, code)
		}
		if taken {
			pc += jt
		} else {
			pc += jf
		}
	}
	return 0, steps, fmt.Errorf("ran off the end")
}
