package sandbox

import (
	"io"
	"os"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// offer is a process that may be used.
type offer struct {
	id, like uint64
	pid      int
	place    launch.Place
	sheet    []byte // until the next one is looked at
}

// nullDevice is a /dev/null of this program's, for the next command that is given no file: one of its own, since flags that are set on an open file are seen by all who share it. It is opened when the last one
// has been sent, while that command runs.
type nullDevice struct {
	fd   int
	open bool
}

func (n *nullDevice) ready() bool {
	if n.open {
		return true
	}
	fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOCTTY, 0)
	if err != nil {
		return false
	}
	var st unix.Stat_t
	if unix.Fstat(fd, &st) != nil || st.Mode&unix.S_IFMT != unix.S_IFCHR || st.Rdev != unix.Mkdev(1, 3) { // this program's root may be anything
		_ = unix.Close(fd)
		return false
	}
	n.fd, n.open = fd, true
	return true
}

func (n *nullDevice) close() {
	if n.open {
		_ = unix.Close(n.fd)
		n.open = false
	}
}

// look returns the offer that is there, if there is one, which stays there.
func (d *direct) look() (offer, bool, error) { return d.offered((*wire.Line).Peek) }

// claim takes the offer that is there. From then on it is this program's, and nobody else's, to send its process something.
func (d *direct) claim() (offer, bool, error) { return d.offered((*wire.Line).Take) }

func (d *direct) offered(read func(*wire.Line, []byte) (int, error)) (o offer, ok bool, err error) {
	for range 2 {
		if d.port == nil {
			if _, err = d.receive(0); err != nil || d.port == nil {
				return o, false, err
			}
		}
		n, err := read(d.port, d.seen)
		switch {
		case err == io.EOF: // there may be another
			d.unplug()
			continue
		case err != nil || n == 0:
			return o, false, err
		}
		a, ok := wire.ParseOffering(d.seen[:n])
		if !ok {
			return o, false, wire.ErrProtocol
		}
		return offer{id: a.ID, like: a.Like, pid: a.PID, place: launch.Place{Rest: a.Rest, Data: a.Data, Room: a.Room}, sheet: a.Sheet}, true, nil
	}
	return o, false, nil
}

func (d *direct) serves(o *offer, l like) bool { return d.alike(o.like, l) && d.sheet.set(o.sheet) }

// try claims the offer that is there if it serves for such a command; there tells whether there was one. It is looked at before, unless the last command was such a one: then it is claimed at once, as another
// could only be there because somebody else has started one at the same time. That one does not fit, like one that has taken the place of what was looked at, and is nobody's any more: its process has to be ended.
func (d *direct) try(l like) (o *offer, fit, there bool, err error) {
	if !d.isLatest(l) {
		seen, ok, err := d.look()
		if err != nil || !ok || !d.serves(&seen, l) {
			return nil, false, ok, err
		}
	}
	if !d.step("claim") {
		return nil, false, true, nil
	}
	claimed, ok, err := d.claim()
	if err != nil || !ok {
		return nil, false, false, err
	}
	return &claimed, d.serves(&claimed, l), true, nil
}

// take returns an offer that has been claimed, and whether it fits such a command, see try. nil: there is none for it.
func (d *direct) take(l like) (o *offer, fit bool) {
	o, fit, there, err := d.try(l)
	if due := d.due; err == nil && due && !there {
		d.due = false
		if d.busy.Load() == 1 && !d.vain {
			if d.vain = !d.awaitOffer(offerTime); !d.vain {
				o, fit, there, err = d.try(l)
			}
		}
	}
	if err != nil {
		d.off = true // it has ended, or does not understand
		d.hangUp()
		return nil, false
	}
	d.vain = d.vain && !there
	return o, fit
}
