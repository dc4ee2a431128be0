package wire

import "encoding/binary"

// Offering lets the host program start the sandbox's next command itself. It is a packet of its own, and comes to the port whose near end a Port brought (launch.Port): whoever receives it, and does not only look at it, may put
// the rest of a plan there for the process, once, see launch.Ready. The command has that ID, and is one that was asked for as the command Like was. Who gives the offer may take it back at any moment,
// by receiving it; but not when it has been received: then the host program has to wait for a Report, or what takes its place, or send a Follow.
type Offering struct {
	ID, Like   uint64
	PID        int
	Rest, Data uint64 // launch.Place
	Room       int
	Sheet      []byte // a cgroup.Sheet, see Encode
}

// OfferingRoom is as long as an offering can be.
const OfferingRoom = 4096

const offeringHead = 6 * 8

// Append appends it as it is sent, in the machine's order: both ends read it in each other's stead, and often.
func (o *Offering) Append(b []byte) []byte {
	for _, v := range [...]uint64{o.ID, o.Like, uint64(o.PID), o.Rest, o.Data, uint64(o.Room)} {
		b = binary.NativeEndian.AppendUint64(b, v)
	}
	return append(b, o.Sheet...)
}

// ParseOffering is the reverse of Append. The sheet stays in b.
func ParseOffering(b []byte) (o Offering, ok bool) {
	if len(b) <= offeringHead {
		return o, false
	}
	v := func(i int) uint64 { return binary.NativeEndian.Uint64(b[8*i:]) }
	return Offering{ID: v(0), Like: v(1), PID: int(v(2)), Rest: v(3), Data: v(4), Room: int(v(5)), Sheet: b[offeringHead:]}, true
}
