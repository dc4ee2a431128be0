package seccomp

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// Program is a compiled policy: classic BPF for one architecture. It is a value and never changes; the zero Program is
// none.
type Program struct {
	arch  Arch
	flags Flags
	code  string // struct sock_filter after struct sock_filter, as the kernel reads them
}

// Arch is the architecture the program is for. The program itself kills what comes from any other, but for
// the policy's SubArches.
func (p Program) Arch() Arch { return p.arch }

// Flags are what the policy asks seccomp(2) for beside the program: the flags argument of SECCOMP_SET_MODE_FILTER.
func (p Program) Flags() Flags { return p.flags }

// Len is the number of instructions, what struct sock_fprog calls len; 0 for the zero Program.
func (p Program) Len() int { return len(p.code) / insnSize }

// Bytes is a copy of the instructions as seccomp(2) reads them: Len structures sock_filter of 8 bytes, little-endian.
func (p Program) Bytes() []byte { return []byte(p.code) }

// String lists the instructions, one a line, for reading: the kernel's names, jumps as line numbers.
func (p Program) String() string {
	var b strings.Builder
	for pc, i := range decode([]byte(p.code)) {
		fmt.Fprintf(&b, "%4d %s\n", pc, i.text(pc))
	}
	return b.String()
}

const insnSize = 8

// insn is one struct sock_filter (linux/filter.h).
type insn struct {
	op     uint16
	jt, jf uint8
	k      uint32
}

// The instructions in use (linux/bpf_common.h): class | size or operation | source.
const (
	opLoad    = 0x20 // LD|W|ABS: A = 32 bits of seccomp_data at k
	opAnd     = 0x54 // ALU|AND|K
	opJump    = 0x05 // JMP|JA: k is how many to skip
	opEqual   = 0x15 // JMP|JEQ|K
	opAbove   = 0x25 // JMP|JGT|K
	opAtLeast = 0x35 // JMP|JGE|K
	opReturn  = 0x06 // RET|K
)

// Offsets in struct seccomp_data (linux/seccomp.h).
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

func (i insn) text(pc int) string {
	jump := func(sign string) string {
		return fmt.Sprintf("if A %s %#x goto %d else %d", sign, i.k, pc+1+int(i.jt), pc+1+int(i.jf))
	}
	switch i.op {
	case opLoad:
		return fmt.Sprintf("A = data[%d]", i.k)
	case opAnd:
		return fmt.Sprintf("A &= %#x", i.k)
	case opJump:
		return fmt.Sprintf("goto %d", pc+1+int(i.k))
	case opEqual:
		return jump("==")
	case opAbove:
		return jump(">")
	case opAtLeast:
		return jump(">=")
	case opReturn:
		return "return " + Action(i.k).String()
	}
	return fmt.Sprintf("op %#x k %#x jt %d jf %d", i.op, i.k, i.jt, i.jf)
}

func decode(raw []byte) []insn {
	code := make([]insn, 0, len(raw)/insnSize)
	for ; len(raw) >= insnSize; raw = raw[insnSize:] {
		code = append(code, insn{
			op: binary.LittleEndian.Uint16(raw), jt: raw[2], jf: raw[3],
			k: binary.LittleEndian.Uint32(raw[4:]),
		})
	}
	return code
}

func encode(code []insn) []byte {
	raw := make([]byte, 0, len(code)*insnSize)
	for _, i := range code {
		raw = binary.LittleEndian.AppendUint16(raw, i.op)
		raw = append(raw, i.jt, i.jf)
		raw = binary.LittleEndian.AppendUint32(raw, i.k)
	}
	return raw
}
