//go:build linux

package launch

import (
	"encoding/binary"
	"unsafe"

	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"golang.org/x/sys/unix"
)

// Place is where a process that waits, see Ready, has room for the rest of its plan. The numbers mean nothing in another process than that which made it, and are no secret to
// the host program, which rules over that one.
type Place struct {
	Rest uint64 // address of the first step after the base's; the rest's data follow its steps
	Data uint64 // of the base's data
	Room int    // bytes
}

// What the rest of a plan may have of steps and registers.
const (
	restSteps = 64
	restRegs  = 32
)

const stepSize = int(unsafe.Sizeof(step{}))

// packetHead is the number of all steps, before the steps.
const packetHead = 8

// sendable tells whether the rest of a plan is of a kind that can be sent.
func sendable(p *plan.Plan) bool {
	return p.Base != nil && len(p.Parent)+len(p.Inputs)+len(p.Patches) == 0 && len(p.Child) <= restSteps && len(p.Regs) <= restRegs
}

// Packet is the rest of a plan as the process receives it: steps with all addresses made good. It is false for what has no room there.
func (at Place) Packet(p *plan.Plan) (packet []byte, ok bool) {
	size := len(p.Child)*stepSize + len(p.Data)
	if !sendable(p) || size > at.Room {
		return nil, false
	}
	own := at.Rest + uint64(size-len(p.Data))
	base := int64(len(p.Base.Data))
	addr := func(off int64) uint64 {
		if off < base {
			return at.Data + uint64(off)
		}
		return own + uint64(off-base)
	}
	packet = make([]byte, packetHead+size)
	binary.NativeEndian.PutUint64(packet, uint64(p.Steps()))
	for i := range p.Child {
		var s step
		if !lower(&s, &p.Child[i], addr, nil) {
			return nil, false
		}
		copy(packet[packetHead+i*stepSize:], (*[stepSize]byte)(unsafe.Pointer(&s))[:])
	}
	data := packet[packetHead+size-len(p.Data):]
	copy(data, p.Data)
	for _, r := range p.Relocs {
		if int64(r.At) < base {
			return nil, false
		}
		binary.NativeEndian.PutUint64(data[int64(r.At)-base:], addr(int64(r.To)))
	}
	return packet, true
}

// Receives is the index of the step at which a process made ahead waits for the rest of its plan; -1: the base has none.
func Receives(base *plan.Plan) int {
	for i := len(base.Child) - 1; i >= 0; i-- {
		if base.Child[i].Nr == unix.SYS_RECVMSG {
			return i
		}
	}
	return -1
}

// receive has the step that receives the program's files receive the rest of the plan with them. What it says of the data's length is unknown then: that the files have come the next
// steps tell.
func (a *arena) receive(at int, base *plan.Plan) {
	steps := unsafe.Slice((*step)(unsafe.Pointer(&a.mem[a.stepsAt])), len(base.Child))
	s := &steps[at]
	s.flags &^= flagWant
	head := int(uintptr(s.args[1]) - a.addr(0)) // struct msghdr
	rest := a.restAt(base)
	a.ctl.iov = [4]uint64{
		uint64(uintptr(unsafe.Pointer(&a.ctl.nsteps))), packetHead,
		uint64(a.addr(rest)), uint64(len(a.mem) - rest),
	}
	*(*uint64)(unsafe.Pointer(&a.mem[head+16])) = uint64(uintptr(unsafe.Pointer(&a.ctl.iov)))
	*(*uint64)(unsafe.Pointer(&a.mem[head+24])) = 2
}

func (a *arena) restAt(base *plan.Plan) int {
	return a.stepsAt + len(base.Child)*stepSize
}

func (a *arena) place(base *plan.Plan) Place {
	rest := a.restAt(base)
	return Place{Rest: uint64(a.addr(rest)), Data: uint64(a.addr(a.dataAt)), Room: len(a.mem) - rest}
}
