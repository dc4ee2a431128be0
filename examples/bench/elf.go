package main

import (
	"encoding/binary"
	"fmt"
	"runtime"
)

// machineCode is a program without a library, in a page, for the architectures that have one.
type machineCode struct{ amd64, arm64 []byte }

// trueCode exits with 0: no other program costs less to start, which makes it the hardest measure for everything around it.
var trueCode = machineCode{
	amd64: []byte{0x31, 0xff, 0xb8, 60, 0, 0, 0, 0x0f, 0x05},               // xor edi,edi; mov eax,60; syscall
	arm64: []byte{0, 0, 0x80, 0xd2, 0xa8, 0x0b, 0x80, 0xd2, 1, 0, 0, 0xd4}, // mov x0,0; mov x8,93; svc 0
}

// readyCode reads a byte from its standard input and executes its first argument, with the rest of them: what is waiting then is as small as can be, and leaves as little behind.
var readyCode = machineCode{
	amd64: []byte{
		0x31, 0xff, // xor edi,edi
		0x48, 0x8d, 0x74, 0x24, 0xf8, // lea rsi,[rsp-8]
		0x6a, 1, 0x5a, // push 1; pop rdx
		0x31, 0xc0, 0x0f, 0x05, // xor eax,eax; syscall: read(0, rsp-8, 1)
		0x48, 0x8d, 0x74, 0x24, 0x10, // lea rsi,[rsp+16]: argv+1
		0x48, 0x8b, 0x3e, // mov rdi,[rsi]
		0x48, 0x8b, 0x04, 0x24, // mov rax,[rsp]: argc
		0x48, 0x8d, 0x54, 0xc4, 0x10, // lea rdx,[rsp+rax*8+16]: envp
		0x6a, 59, 0x58, 0x0f, 0x05, // push 59; pop rax; syscall: execve
		0x6a, 60, 0x58, 0x89, 0xc7, 0x0f, 0x05, // push 60; pop rax; mov edi,eax; syscall: exit(60)
	},
	arm64: []byte{
		0xe0, 0x03, 0x1f, 0xaa, // mov x0,xzr
		0xe1, 0x43, 0x00, 0xd1, // sub x1,sp,16
		0xe2, 0x03, 0x40, 0xb2, // mov x2,1
		0xe8, 0x17, 0x40, 0xb2, 0x01, 0, 0, 0xd4, // mov x8,63; svc 0: read(0, sp-16, 1)
		0xe3, 0x03, 0x40, 0xf9, // ldr x3,[sp]: argc
		0xe1, 0x43, 0x00, 0x91, // add x1,sp,16: argv+1
		0xe0, 0x0b, 0x40, 0xf9, // ldr x0,[sp,16]
		0x22, 0x0c, 0x03, 0x8b, // add x2,x1,x3,lsl 3: envp
		0xa8, 0x1b, 0x80, 0xd2, 0x01, 0, 0, 0xd4, // mov x8,221; svc 0: execve
		0xe0, 0x0f, 0x7e, 0xb2, // mov x0,60
		0xa8, 0x0b, 0x80, 0xd2, 0x01, 0, 0, 0xd4, // mov x8,93; svc 0: exit
	},
}

// elf makes a static executable of it.
func (c machineCode) elf() ([]byte, error) {
	code, machine := []byte(nil), uint16(0)
	switch runtime.GOARCH {
	case "amd64":
		code, machine = c.amd64, 62
	case "arm64":
		code, machine = c.arm64, 183
	default:
		return nil, fmt.Errorf("no static program for %s", runtime.GOARCH)
	}
	const base, headers = 0x400000, 64 + 56
	size := uint64(headers + len(code))
	b := append([]byte("\x7fELF"), 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	u16 := func(v ...uint16) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint16(b, v)
		}
	}
	u32 := func(v ...uint32) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint32(b, v)
		}
	}
	u64 := func(v ...uint64) {
		for _, v := range v {
			b = binary.LittleEndian.AppendUint64(b, v)
		}
	}
	u16(2, machine)          // ET_EXEC
	u32(1)                   // EV_CURRENT
	u64(base+headers, 64, 0) // entry, program headers, no sections
	u32(0)                   // flags
	u16(64, 56, 1, 0, 0, 0)  // sizes and counts
	u32(1, 5)                // PT_LOAD, readable and executable
	u64(0, base, base)       // offset and addresses
	u64(size, size, 0x1000)  // in the file, in memory, alignment
	return append(b, code...), nil
}
