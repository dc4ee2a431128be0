//go:build linux

package zygote

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// armed is a command that the host program may start itself: all is ready but what is going to be executed, and a thread waits for its end, which it tells the host program without waking anybody here
// (launch.Report). Whoever wants the sandbox for something else takes it back first; a command that cannot be taken back, since the host program has begun to start it, is one that runs.
// Who has received the offer has the process, and exactly one can: it is a packet in a socket, the near end of the line's port, and both may receive there, the host program to use the process and we to take it back. There is one
// at a time: the next process is made when this one has been taken back, or is known to be over. That what the host program sends then, however late, reaches this process or none is the port's affair, see launch.Port: it is this
// process's until one of these is known.
//
//   - It was taken back (Disarm), or never offered. Nobody knows of it who could send anything.
//   - It has received its packet (fed). A claim is good for one, and it has come.
//   - The host program, which has claimed it, says that it has not sent anything and will not (Follow without Sent, Abandon).
//
// Where the process ends, is killed or given up before, the port ends with it. A host program that is stopped between the claim and the send finds it shut (EPIPE) and asks for a Follow, which tells it that nothing has run; one whose packet was
// on its way is told the same by the report, or by us. In both cases it starts the command in another way, once. An offer that nobody claimed stays in a port that dies: who claims it then cannot send, with the same end.
//
// How it goes on with it is decided once, with the spare's lock held:
//
//	dormant → revoked   nobody has used it: it has never been
//	        → ended     its end has been told, or is told by us, see told
//	        → running   the thread has been stopped before the end, by the Follow that the host program has sent, from which on it is a command like others; or without one, see alone
type armed struct {
	*command
	z        *zygote
	line     *line
	reporter *launch.Reporter
	state    armedState
	followed bool
	alone    *alone // set before followed, and not changed
}

type armedState uint8

const (
	dormant armedState = iota
	revoked
	ended
	running
)

// line is a sandbox's socket for what the host program has to know before it starts a command itself, and for how that ended.
type line struct {
	*wire.Line
	stop  int // an eventfd: the reporter is to leave
	timer int // it has run out when the zygote has to go with a command that it has not been told of
	port  *launch.Port
	shown *launch.Port // whose near end the host program has been handed
}

// armedIDs are beyond those of requests.
const armedIDs = 1 << 63

// openLine takes the line that comes with a command.
func (z *zygote) openLine(b *box, fd, timer int) {
	stop, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	l := &line{Line: wire.NewLine(fd), stop: stop, timer: timer}
	if err != nil || z.tellers() != nil {
		l.close()
		return
	}
	s := &b.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.line != nil || s.over {
		l.close()
		return
	}
	s.line = l
}

// nextPort is for the process that is made ready next. It is another than the last one's if that is dead, or has yet to show that it is not.
func (l *line) nextPort() *launch.Port {
	if l == nil {
		return nil
	}
	if !l.port.Usable() {
		l.port.Close()
		l.port, _ = launch.NewPort()
	}
	return l.port
}

// closePort is for who has no process made ready for a while.
func (l *line) closePort() {
	if l != nil {
		l.port.Close()
	}
}

// offer tells the host program of a process, and where to look for that if it does not know.
func (l *line) offer(rd *launch.Ready, o *wire.Offering) error {
	b := o.Append(nil)
	if len(b) > wire.OfferingRoom {
		return unix.E2BIG
	}
	if err := rd.Offer(b); err != nil || l.shown == l.port {
		return err
	}
	err := l.Send(wire.Port, 0, nil, []int{l.port.Near()})
	if err == nil {
		l.shown = l.port
	}
	return err
}

// close is for when no command of the sandbox is left.
func (l *line) close() {
	if l != nil {
		l.Close()
		l.port.Close()
		closeFD(l.stop)
		closeFD(l.timer)
		l.stop, l.timer = -1, -1
	}
}

// reports are how to read the files of leaves, of which there are few kinds.
type reports struct {
	mu   sync.Mutex
	kept []keptReport // the one used last at the end
}

type keptReport struct {
	files  []cgroup.SheetFile
	alone  launch.Alone
	report *launch.Report
}

const maxReports = 8

func (rs *reports) of(s *cgroup.Sheet) *launch.Report {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	alone := launch.Alone{File: s.Alone, At: s.At, Word: s.Empty}
	i := slices.IndexFunc(rs.kept, func(k keptReport) bool { return k.alone == alone && slices.Equal(k.files, s.Files) })
	if i >= 0 {
		k := rs.kept[i]
		rs.kept = append(slices.Delete(rs.kept, i, i+1), k)
		return k.report
	}
	files := make([]launch.ReportFile, len(s.Files))
	for i := range files {
		files[i].Room = s.Files[i].Room
	}
	if len(rs.kept) == maxReports {
		rs.kept = slices.Delete(rs.kept, 0, 1)
	}
	k := keptReport{slices.Clone(s.Files), alone, launch.NewReport(len(wire.LineHead(0, 0, 0)), files, alone)}
	rs.kept = append(rs.kept, k)
	return k.report
}

// halt stops a reporter, unless it is done, and returns when it is gone.
func (l *line) halt(r *launch.Reporter) {
	_, _ = unix.Write(l.stop, binary.NativeEndian.AppendUint64(nil, 1))
	r.Await()
	var b [8]byte
	_, _ = unix.Read(l.stop, b[:])
}

// arm offers the process that is ready, with its leaf, to the host program. If that is not possible it stays ready. The spare is locked.
func (z *zygote) arm(b *box, like *command) {
	s := &b.spare
	if s.line == nil || s.ready == nil || s.leaf == nil || !like.req.Offer || !s.ready.Has(s.line.port) {
		return
	}
	sheet, files, ok := s.leaf.Sheet()
	if !ok || s.line.clear() != nil || s.leaf.Begin() != nil {
		return
	}
	blob, err := wire.Encode(sheet)
	if err != nil {
		return
	}
	a := &armed{z: z, line: s.line, command: &command{
		id: armedIDs | z.lastArmed.Add(1), conn: z.conn, box: b, req: like.req, leaf: s.leaf, limits: s.limits, ready: s.ready, joiner: s.joiner,
		plan: &plan.Plan{Base: s.joiner.Base(), Exec: -1}, stop: make(chan struct{}), settled: make(chan struct{}),
	}}
	a.armed = a
	a.shown.Store(s.leaf)
	if !s.ready.Arm(&a.launch) {
		s.ready = nil
		s.withoutLeaf()
		return
	}
	report := z.reports.of(&sheet)
	if a.reporter, err = report.Start(s.ready, wire.LineHead(wire.Report, a.id, report.Size()), a.id, s.line.FD(), z.told[1], s.line.stop, s.line.timer, files); err != nil {
		s.ready.Disarm()
		return
	}
	at := s.ready.Place()
	pid := s.ready.PID()
	s.armed, s.ready, s.leaf = a, nil, nil
	a.register()
	b.named(a.leaf, pid)
	if err := a.line.offer(a.ready, &wire.Offering{ID: a.id, Like: like.id, PID: pid, Rest: at.Rest, Data: at.Data, Room: at.Room, Sheet: blob}); err != nil {
		s.ready, s.leaf, s.limits = s.withdraw()
	}
}

// register makes it known, though it is no command yet: it is found by whoever looks for one.
func (a *armed) register() {
	a.box.mu.Lock()
	a.box.commands[a.id] = a.command
	a.box.running.Add(1)
	a.box.mu.Unlock()
	a.z.mu.Lock()
	a.z.commands[a.id] = a.command
	if a.z.armed == nil {
		a.z.armed = map[uint64]*armed{}
	}
	a.z.armed[a.id] = a
	a.z.mu.Unlock()
}

func (a *armed) unregister() {
	a.forget()
	a.z.unregister(a.command)
}

func (a *armed) forget() {
	a.z.mu.Lock()
	defer a.z.mu.Unlock()
	delete(a.z.armed, a.id)
}

func (z *zygote) armedOf(id uint64) *armed {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.armed[id]
}

// withdraw takes the armed command back, and returns what it had if nobody has used it. The spare is locked.
func (s *spare) withdraw() (*launch.Ready, *cgroup.Leaf, cgroup.Limits) {
	a := s.armed
	if a == nil {
		return nil, nil, cgroup.Limits{}
	}
	if !a.ready.Disarm() {
		if a.leave(running); a.state == running {
			a.goAlone()
		}
		return nil, nil, cgroup.Limits{}
	}
	a.leave(revoked)
	a.unregister()
	a.box.unnamed(a.leaf)
	return a.ready, a.leaf, a.limits
}

// leave ends the dormancy. If the reporter has been quicker it has ended, for which to is no word. The spare is locked.
func (a *armed) leave(to armedState) {
	a.line.halt(a.reporter)
	a.left(to)
}

// left is the second half of leave: the reporter is gone. The spare is locked.
func (a *armed) left(to armedState) {
	a.box.spare.armed = nil
	a.state = to
	if _, _, waited := a.reporter.Waited(); waited && to == running {
		a.state = ended // told has been written
		return
	}
	a.reporter.Close()
}

// follow has a command that the host program has started gone with as others are, from where it is now.
func (z *zygote) followArmed(conn *wire.Conn, m *wire.Message) {
	var req wire.FollowRequest
	if err := m.Decode(&req); err != nil {
		_ = conn.Send(wire.Reply, m.ID, &wire.Answer{Error: toWire(err)}, nil, nil)
		return
	}
	a := z.armedOf(req.Command)
	if a == nil || !a.takeOver() {
		if a != nil && a.joined(conn, m.ID, req.Sent) {
			return
		}
		b, err := z.box(req.Box)
		// What has been sent nothing cannot have run. It may have died long ago, and that have been told.
		_ = conn.Send(wire.Reply, m.ID, &wire.Answer{OnLine: req.Sent, NotRun: !req.Sent, Killed: err != nil || b.isClosing() || a != nil && a.killed.Load()}, nil, nil)
		return
	}
	c := a.command
	c.box.limits.Lock() // whoever changes limits reads it
	c.req = req.Start
	c.box.limits.Unlock()
	c.started = since(req.Started)
	c.asked = c.started
	if !req.Sent {
		a.ready.Abandon()
		a.neverRun()
		_ = conn.Send(wire.Reply, m.ID, &wire.Answer{NotRun: true}, nil, nil)
		return
	}
	if answer := unrun(a.accompany()); answer != nil {
		a.neverRun()
		_ = conn.Send(wire.Reply, m.ID, answer, nil, nil)
		return
	}
	answer := &wire.Answer{PID: c.proc.Load().pid}
	if !c.req.Whole { // there is something to be copied
		_ = conn.Send(wire.Reply, m.ID, answer, nil, nil)
		answer = nil
	}
	z.follow(c, conn, answer)
	a.forget()
}

// accompany waits until the program of a command that is ours from now on is executed. Otherwise it has never run, unless received is true with an error, see unrun.
func (a *armed) accompany() (received bool, err error) {
	c := a.command
	proc, received, err := a.ready.Follow(deadline(c.req.Launch.Timeout))
	c.ready = nil
	switch {
	case err != nil:
		return received, launchError("launch", err)
	case !received:
		_, _ = launch.Wait(proc.PID, nil, 0, nil)
		closeFD(proc.PIDFD)
		return false, nil
	}
	c.box.started.Add(1)
	c.proc.Store(newProcess(proc.PID, proc.PIDFD))
	if c.killed.Load() {
		c.kill()
	}
	a.z.goMakeSpare(c)
	return true, nil
}

// unrun is the answer about a command of which accompany returned that; nil: its program runs. Where a launch was given up that had come to the execve, the program may have been executed in the very
// moment: it is not to be started in another way.
func unrun(received bool, err error) *wire.Answer {
	switch {
	case received && errors.Is(err, unix.ETIMEDOUT):
		return &wire.Answer{Error: toWire(err)}
	case err != nil || !received:
		return &wire.Answer{NotRun: true}
	}
	return nil
}

// takeOver tells whether its caller is to go with the command.
func (a *armed) takeOver() bool {
	s := &a.box.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.state == dormant {
		a.leave(running)
	}
	if a.state != running || a.followed {
		return false
	}
	a.followed = true
	return true
}

// neverRun clears away a command whose program has not run. What the next one needs the next one makes: it may be the sandbox's limits that this has failed for.
func (a *armed) neverRun() {
	close(a.settled)
	a.isOver()
	a.discard()
	a.unregister()
}

// tellers start those who are told that reporters are done.
func (z *zygote) tellers() (err error) {
	z.telling.Do(func() {
		if z.tellErr = unix.Pipe2(z.told[:], unix.O_CLOEXEC); z.tellErr != nil {
			return
		}
		z.listening.Store(tellers)
		for range tellers {
			go z.listenTold()
		}
	})
	return z.tellErr
}

// tellers is how many threads at least wait for commands to clear away that the host program has started. There are more while some have left what takes its time to die, for which no other
// sandbox's command is to wait.
const tellers = 2

func (z *zygote) listenTold() {
	for {
		var b [8]byte
		n, err := unix.Read(z.told[0], b[:])
		if err == unix.EINTR {
			continue
		}
		if n != len(b) {
			z.listening.Add(-1)
			return
		}
		if a := z.armedOf(binary.NativeEndian.Uint64(b[:])); a != nil {
			z.handlers.Add(1)
			if z.listening.Add(-1) == 0 {
				z.listening.Add(1)
				go z.listenTold() // somebody always does
			}
			a.told()
			z.handlers.Done()
			if z.listening.Add(1) > tellers {
				z.listening.Add(-1)
				return
			}
		}
	}
}

// told is called when the reporter has said that it is done, after which it does no more than to end.
func (a *armed) told() {
	s := &a.box.spare
	s.mu.Lock()
	switch {
	case a.state != dormant:
	case a.reporter.Early():
		// The timer has run out, or another process in the sandbox traces it and keeps it from being waited for.
		if rd, leaf, _ := s.withdraw(); rd != nil { // it was another's timer
			rd.Discard()
			_ = leaf.Delete()
		}
	default:
		a.left(running)
	}
	mine := a.state == ended && !a.followed
	if mine {
		a.followed = true
	}
	s.mu.Unlock()
	if mine { // otherwise it has been taken back, or is gone with
		a.conclude()
	}
}

// conclude does what is left to be done for a command whose end the reporter has seen.
func (a *armed) conclude() {
	s := &a.box.spare
	ws, ru, waited := a.reporter.Waited()
	sent := a.reporter.Sent()
	defer func() { // it has gone meanwhile, as a rule
		a.reporter.Await()
		a.reporter.Close()
	}()
	received, failed := a.ready.Over()
	c := a.command
	c.ready = nil
	if !received || failed {
		if !sent {
			_ = a.line.Send(wire.Reply, a.id, &wire.Answer{NotRun: true}, nil)
		}
		a.neverRun()
		return
	}
	c.box.started.Add(1)
	c.started = time.Now()
	c.asked = c.started
	c.late = true
	c.proc.Store(newProcess(a.pid(), -1))
	exit := &wire.Exit{PID: a.pid(), Lost: !waited}
	if !sent {
		s.mu.Lock()
		_, _ = a.limit()
		s.mu.Unlock()
		c.lastCheck(exit)
	}
	c.ended(exit, ws, &ru)
	offered := false
	if sent { // then nothing is left in the leaf
		c.isOver()
		a.z.makeReady(c, c.plan)
		offered = c.box.isArmed()
		c.settle(exit) // what it has used counts for the sandbox
	} else {
		c.settle(exit)
		exit.Accounts = time.Since(c.started)
		_ = a.line.Send(wire.Exited, a.id, exit, nil)
		a.z.makeReady(c, c.plan)
		offered = c.box.isArmed()
	}
	c.reported.Store(true)
	a.z.bury(c)
	a.forget()
	a.z.restock(c, offered)
}

// restock makes what a command that the host program starts itself finds ready: such a one has no time in which that could be made. What has been offered once is not offered again: it may have been
// taken back for somebody who wants the sandbox to be empty.
func (z *zygote) restock(c *command, offered bool) {
	if c.box.fillSpare(c, c.plan) {
		z.keepSpare(c.box)
	}
	if offered {
		return
	}
	z.makeReady(c, c.plan)
	if c.box.isArmed() {
		c.box.fillSpare(c, c.plan) // a leaf for the one after that
	}
}

func (b *box) isArmed() bool {
	b.spare.mu.Lock()
	defer b.spare.mu.Unlock()
	return b.spare.armed != nil
}

func (a *armed) pid() int { return a.box.pidOf(a.leaf.Name()) }
