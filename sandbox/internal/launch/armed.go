//go:build linux

package launch

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Arm begins to let another process that has a copy of the port's near end use this one: whoever has received there what Offer has sent may send it, once, the rest of a plan (Place, Packet) with the program's
// files. From then on nobody but its owner waits for the process. h can kill it. False: it is gone.
func (rd *Ready) Arm(h *Handle) bool {
	if !rd.used.CompareAndSwap(false, true) {
		return false
	}
	l := rd.l
	own := *l.Request
	own.Handle = h
	l.Request = &own
	l.begin()
	if rd.dead() {
		l.finish(nil)
		rd.bury(true)
		return false
	}
	h.hold(l)
	return true
}

// Has tells whether the process has that port, so that it can be offered.
func (rd *Ready) Has(p *Port) bool { return p != nil && rd.port == p }

// Offer tells of an armed process at its port's near end. It does not go with Disarm at the same time.
func (rd *Ready) Offer(offer []byte) error {
	for {
		err := unix.Send(rd.port.far, offer, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			rd.offered = err == nil
			return err
		}
	}
}

// Place is where the rest of its plan goes.
func (rd *Ready) Place() Place { return rd.l.place(rd.l.Plan) }

// PID is the process's.
func (rd *Ready) PID() int { return int(atomic.LoadUint32(&rd.l.ctl.pid)) }

// Disarm takes an armed process back, unless somebody uses it or is about to: then false, for good. After that it is ready as before, if it lives.
func (rd *Ready) Disarm() bool {
	if rd.offered && !takeFrom(rd.port.near) {
		return false
	}
	rd.offered = false
	rd.release()
	rd.used.Store(false)
	return true
}

func (rd *Ready) release() {
	rd.l.Handle.hold(nil)
	rd.l.finish(nil)
}

// Follow goes with an armed process that somebody has used until it has called execve, as Launch does. received is false for one that died before it had anything to do; with an error, for one
// that never came to its last step, which is the execve.
func (rd *Ready) Follow(until time.Time) (p *Process, received bool, err error) {
	l := rd.l
	own := *l.Request
	own.Until = until
	l.Request = &own
	p, err = l.deliver(func() (*Process, error) {
		p, err := l.conclude()
		rd.port.leave(rd.fed())
		received = rd.Received() && (err == nil || atomic.LoadInt64(&l.ctl.progress) >= l.ctl.nsteps-1)
		return p, err
	})
	return p, received, err
}

// Received tells whether an armed process has had something to do.
func (rd *Ready) Received() bool {
	return atomic.LoadInt64(&rd.l.ctl.progress) > int64(Receives(rd.l.Plan))
}

// Over gives back what an armed process needed that has ended and has been waited for, and tells whether it had received anything to do, and whether that failed before its program ran.
func (rd *Ready) Over() (received, failed bool) {
	received, failed = rd.Received(), atomic.LoadInt64(&rd.l.ctl.errno) != 0
	rd.release()
	rd.bury(rd.fed())
	return received, failed
}

// Abandon ends an armed process to which nothing has been sent and nothing will be, as whoever may says, and returns when it is gone.
func (rd *Ready) Abandon() {
	rd.l.signal()
	rd.release()
	rd.bury(true)
}
