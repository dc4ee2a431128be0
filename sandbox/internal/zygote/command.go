//go:build linux

package zygote

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// command is a program that runs in a sandbox.
type command struct {
	id       uint64
	conn     *wire.Conn
	box      *box
	req      wire.StartRequest
	leaf     *cgroup.Leaf                // of whoever starts and follows the command
	shown    atomic.Pointer[cgroup.Leaf] // the same, for others, once there is one
	limits   cgroup.Limits               // of leaf, as it was made
	ready    *launch.Ready               // made ahead, with leaf
	joiner   *launch.Joiner
	plan     *plan.Plan
	proc     atomic.Pointer[process]
	asked    time.Time // when the request came
	started  time.Time
	late     bool          // started is later than that: when it was only the host program knows
	exec     time.Duration // after started
	stop     chan struct{} // closed when somebody asks for its end
	once     sync.Once
	killed   atomic.Bool // by request
	settled  chan struct{}
	reported atomic.Bool // as ended, or about to be: whoever comes first buries it
	burial   sync.Once

	launch launch.Handle
	armed  *armed // what it was before
	over   bool   // its program has ended, or never ran, and with a leaf all of its processes; guarded by box.mu
}

func (z *zygote) start(m *wire.Message) (c *command, _ *wire.Answer, err error) {
	c = &command{asked: time.Now(), id: m.ID, conn: z.conn, stop: make(chan struct{}), settled: make(chan struct{})}
	if err := m.Decode(&c.req); err != nil {
		return c, nil, err
	}
	p, err := z.planOf(&c.req, m.Raw)
	if errors.Is(err, errNoBase) {
		return c, &wire.Answer{NoBase: true}, err
	}
	if err != nil {
		return c, nil, err
	}
	if c.box, err = z.box(c.req.Box); err != nil {
		return c, nil, err
	}
	if !c.box.enter() {
		return c, nil, errGone
	}
	if n := len(m.Files); c.req.Line && n > 1 {
		z.openLine(c.box, m.Files[n-2], m.Files[n-1])
		m.Files = m.Files[:n-2]
	}
	z.register(c)
	c.plan = p
	defer func() {
		c.box.starting.Done()
		if err != nil {
			close(c.settled)
			c.ready.Discard()
			c.discard()
			if c.box.group == nil {
				c.box.sweepProcesses(c, &wire.Exit{}) // of a command that has ended meanwhile
			}
			z.unregister(c)
			if c.box.started.Load() >= spareFrom {
				z.goMakeSpare(c)
			}
		}
	}()
	if c.box.group != nil {
		if err := c.newLeaf(p); err != nil {
			return c, nil, err
		}
	} else {
		_, _, c.joiner = c.box.spare.take(&c.limits, p)
	}
	proc, err := c.run(p, m.Files)
	if n := c.box.started.Add(1); err == nil && n >= spareFrom {
		z.goMakeSpare(c)
	}
	if err != nil {
		return c, nil, err
	}
	c.box.named(c.leaf, proc.PID)
	c.proc.Store(newProcess(proc.PID, proc.PIDFD))
	if c.killed.Load() {
		c.kill() // it came between the launch and now
	}
	return c, &wire.Answer{PID: proc.PID}, nil
}

func (c *command) newLeaf(p *plan.Plan) (err error) {
	c.box.limits.RLock()
	defer c.box.limits.RUnlock()
	limits := c.leafLimits()
	if c.leaf, c.ready, c.joiner = c.box.spare.take(&limits, p); c.leaf == nil {
		if c.leaf, err = c.box.group.NewLeaf(leafName(c.box.leafSeq.Add(1)), limits); err != nil {
			return err
		}
	}
	c.limits = limits
	c.shown.Store(c.leaf)
	return nil
}

// run launches the program. A launch whose time is up, or which is killed, ends with an error.
func (c *command) run(p *plan.Plan, files []int) (*launch.Process, error) {
	r := &launch.Request{
		Plan: p, Files: []int{c.box.pidfd}, Mode: launch.Mode(c.req.Launch.Mode), Flags: c.req.Launch.Flags, Cgroup: -1,
		Until: deadline(c.req.Launch.Timeout), Handle: &c.launch, Joiner: c.joiner, Ready: c.ready, Program: len(c.req.Files),
	}
	if c.leaf != nil {
		r.Cgroup = c.box.unified(c.leaf)
		r.Files = append(r.Files, c.leaf.TasksFDs()...)
	}
	if c.req.Ruleset {
		if c.box.ruleset < 0 {
			return nil, wire.ErrProtocol
		}
		r.Files = append(r.Files, c.box.ruleset)
	}
	null := -1
	defer func() { closeFD(null) }()
	for _, at := range c.req.Files {
		switch {
		case at >= 0 && int(at) < len(files):
			r.Files = append(r.Files, files[at])
			continue
		case at != wire.Null:
			return nil, wire.ErrProtocol
		case null < 0:
			// One of its own for every command: what fcntl(2) sets on an open file is seen by all who have it.
			var err error
			if null, err = unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0); err != nil {
				return nil, &stageError{"files", "open", os.DevNull, err}
			}
		}
		r.Files = append(r.Files, null)
	}
	r.Listen = c.listen()
	c.started = time.Now()
	proc, err := launch.Launch(r)
	// A file that has just been written is busy as long as another launch under way has a copy of the writer's descriptor, which it closes
	// among its first steps. Nothing of a failed launch is left, so it can be tried again.
	for tries := 0; errors.Is(err, unix.ETXTBSY) && tries < 50 && !c.killed.Load(); tries++ {
		time.Sleep(2 * time.Millisecond)
		proc, err = launch.Launch(r)
	}
	if err != nil && r.Cgroup >= 0 && r.Cgroup == c.box.noted && r.NotCloned(err) {
		c.box.astray.Store(true) // as in box.launch
		r.Cgroup = -1
		proc, err = launch.Launch(r)
	}
	if err != nil {
		return nil, launchError("launch", err)
	}
	c.exec = time.Since(c.started)
	return proc, nil
}

// planOf is the plan of a Start. Its base stays, for other commands.
func (z *zygote) planOf(req *wire.StartRequest, raw []byte) (*plan.Plan, error) {
	first, rest, err := wire.SplitParts(raw)
	if err != nil {
		return nil, err
	}
	if req.Base == 0 {
		return plan.Decode(rest)
	}
	base, err := z.bases.find(req.Base, first)
	if err != nil {
		return nil, err
	}
	return plan.DecodeAfter(base, rest)
}

func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}

// kill asks for the command's end.
func (c *command) kill() {
	c.killed.Store(true)
	c.once.Do(func() { close(c.stop) })
	c.launch.Kill()
	if p := c.proc.Load(); p != nil {
		_ = p.signal(unix.SIGKILL) // the rest follows, see enforce and settle
	}
}

// discard removes what a command that could not start has left.
func (c *command) discard() {
	if c.leaf != nil {
		_ = c.leaf.Kill(time.Now().Add(time.Second))
		_ = c.leaf.Delete()
		c.box.tellAll()
		c.box.unnamed(c.leaf)
	}
}

func (z *zygote) register(c *command) {
	c.box.sweeping.RLock()
	defer c.box.sweeping.RUnlock()
	c.box.mu.Lock()
	c.box.commands[c.id] = c
	c.box.running.Add(1)
	c.box.mu.Unlock()
	z.mu.Lock()
	z.commands[c.id] = c
	z.mu.Unlock()
}

func (z *zygote) unregister(c *command) {
	z.mu.Lock()
	delete(z.commands, c.id)
	z.mu.Unlock()
	c.box.mu.Lock()
	delete(c.box.commands, c.id)
	c.box.running.Done()
	c.box.mu.Unlock()
}

// follow supervises a command that has been started, until it has been reported and nothing is left of it. reply, if not nil, is still to be sent to
// who asked, unless the end comes first, which then is the reply.
func (z *zygote) follow(c *command, asked *wire.Conn, reply *wire.Answer) {
	exit := &wire.Exit{}
	brief := c.leaf != nil && !c.req.Keep
	if brief {
		c.leaf.KeepOpen() // while the program is being loaded
	}
	ended := c.look(exit, wholeTime, reply != nil)
	watched := c.box.watched()
	report := z.conn
	switch {
	case reply == nil:
	case ended && (asked == z.conn || !watched):
		report = asked
	default:
		_ = asked.Send(wire.Reply, c.id, reply, nil, nil)
	}
	if !ended {
		if brief {
			c.leaf.CloseKept() // there may be thousands of those that stay
		}
		c.supervise(exit)
	}
	c.settle(exit)
	exit.Leaf, exit.Launch, exit.Accounts = c.started.Sub(c.asked), c.exec, time.Since(c.started)-exit.Wall
	if watched || c.box.watched() {
		c.clear() // what happened to the command is told before how it ended
		c.tell(report, exit)
		launch.ReapStrangers()
		z.unregister(c)
		return
	}
	c.reported.Store(true) // who is told may come back before this thread does
	c.tell(report, exit)
	z.makeReady(c, c.plan)
	offered := c.box.isArmed()
	z.bury(c)
	if offered {
		z.restock(c, true)
	}
}

// tell says how the command has ended.
func (c *command) tell(to *wire.Conn, exit *wire.Exit) {
	if !c.armed.tells(exit) {
		_ = to.Send(wire.Exited, c.id, exit, nil, nil)
	}
}

// bury removes what is left of a command that has been reported. Whoever takes the sandbox down does not wait for the thread that has reported it.
func (z *zygote) bury(c *command) {
	c.burial.Do(func() {
		c.clear()
		launch.ReapStrangers()
		z.unregister(c)
	})
}

// find returns a command that has not been reported as ended.
func (z *zygote) find(id uint64) (*command, error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	c := z.commands[id]
	if c == nil {
		return nil, os.ErrProcessDone
	}
	return c, nil
}

func (z *zygote) signal(m *wire.Message) error {
	var req wire.SignalRequest
	if err := m.Decode(&req); err != nil {
		return err
	}
	if req.TID != 0 {
		b, err := z.box(req.Box)
		if err != nil {
			return err
		}
		return b.killThread(req.TID)
	}
	c, err := z.find(req.Command)
	if err != nil {
		return err
	}
	if req.All {
		c.kill()
		return nil
	}
	p := c.proc.Load()
	if p == nil {
		return os.ErrProcessDone
	}
	if err := p.signal(unix.Signal(req.Signal)); err != nil {
		if errors.Is(err, unix.ESRCH) {
			return os.ErrProcessDone
		}
		return &stageError{"signal", "pidfd_send_signal", "command", err}
	}
	return nil
}

func (z *zygote) stats(m *wire.Message) (*wire.Answer, error) {
	var req wire.BoxRequest
	if err := m.Decode(&req); err != nil {
		return nil, err
	}
	if req.Command != 0 {
		c, err := z.find(req.Command)
		if err != nil {
			return nil, err
		}
		leaf := c.shown.Load()
		if leaf == nil {
			return nil, errNoGroup
		}
		s, err := leaf.Stats()
		return &wire.Answer{Stats: &s}, err
	}
	b, err := z.groupedBox(req.Box)
	if err != nil {
		return nil, err
	}
	b.spare.dropReady() // it would be counted
	s, err := b.group.Stats()
	return &wire.Answer{Stats: &s}, err
}
