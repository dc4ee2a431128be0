package sandbox

import (
	"os"
	"slices"

	"github.com/belljar-go/belljar/rootfs"
	"golang.org/x/sys/unix"
)

// scratchKey is where sources have the socket on which the scratch layer is sent.
const scratchKey = "\x00scratch"

// addScratch makes the socket on which PID 1 sends the layer that the job writes to, if it is in memory; nil if there is none.
func (s *sources) addScratch(of *spec) (*os.File, error) {
	if of.scratch == 0 {
		return nil, nil
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, &Error{Stage: "root", Op: "socketpair", Path: "scratch", Err: err}
	}
	s.at[scratchKey] = source{fd: pair[1]}
	return os.NewFile(uintptr(pair[0]), "scratch"), nil
}

// takeScratch receives the layer of a sandbox that stands. Without it there is no Diff.
func (e *engine) takeScratch(shown *os.File) {
	if shown == nil {
		return
	}
	oob := make([]byte, unix.CmsgSpace(4))
	var data [1]byte
	_, n, _, _, err := unix.Recvmsg(int(shown.Fd()), data[:], oob, unix.MSG_DONTWAIT|unix.MSG_CMSG_CLOEXEC)
	if err != nil {
		return
	}
	messages, err := unix.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return
	}
	if fds, err := unix.ParseUnixRights(&messages[0]); err == nil && len(fds) == 1 {
		e.scratch.Store(os.NewFile(uintptr(fds[0]), "scratch"))
	}
}

// pointsOf are the paths at which something of the sandbox's own is.
func pointsOf(ops []rootfs.Op) (points []string) {
	for _, op := range ops {
		if p := op.Path(); p != "/" && !slices.Contains(points, p) {
			points = append(points, p)
		}
	}
	return points
}

func (e *engine) dropScratch() {
	if f := e.scratch.Swap(nil); f != nil {
		_ = f.Close()
	}
}

// delta is what the layer that the job writes to makes of those below. done gives back what it holds.
func (e *engine) delta() (d rootfs.Delta, done func(), err error) {
	s := e.spec
	d = rootfs.Delta{Upper: s.upper, Lowers: s.stack(), Skip: e.points}
	if s.upper != "" {
		return d, func() {}, nil
	}
	held := e.scratch.Load()
	if held == nil {
		return d, nil, &Error{Stage: "files", Op: "diff", Path: "scratch", Err: e.noScratch()}
	}
	fd, err := unix.FcntlInt(held.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return d, nil, &Error{Stage: "files", Op: "diff", Path: "scratch", Err: ErrClosed}
	}
	d.At = os.NewFile(uintptr(fd), "scratch")
	d.Owner = e.ownerBelow()
	return d, func() { _ = d.At.Close() }, nil
}

// archived is delta with owners as they are inside. An ordinary user's layers have those of the host, since nothing maps them on the way.
func (e *engine) archived() (rootfs.Delta, func(), error) {
	d, done, err := e.delta()
	if err == nil && !e.facts.mounts && e.ids.wire != nil {
		d.Owner = e.ids.fromHost
	}
	return d, done, err
}

func (e *engine) noScratch() error {
	select {
	case <-e.ended:
		return ErrClosed
	default:
		return ErrUnsupported
	}
}

// ownerBelow turns ids of the host, which files of a layer in memory have, into those that mapped mounts make of them on disk: the ids inside.
func (e *engine) ownerBelow() func(uid, gid uint32) (uint32, uint32) {
	if !e.facts.mounts || e.ids.wire == nil {
		return nil
	}
	if n := e.ids.wire.Count; n > 0 {
		return func(uid, gid uint32) (uint32, uint32) {
			return idInside(uid, e.idBase, n), idInside(gid, e.idBase, n)
		}
	}
	return e.ids.fromHost
}

func idInside(id, base, count uint32) uint32 {
	if id-base < count {
		return id - base
	}
	return id
}
