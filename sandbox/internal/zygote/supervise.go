//go:build linux

package zygote

import (
	"strconv"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/plan"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

func leafName(n uint64) string { return "job-" + strconv.FormatUint(n, 10) }

// wholeTime is how long a program may run without the host program being told that it does, if it only asked for the end.
const wholeTime = 2 * time.Millisecond

// look waits for a program that ends before any look at its limits is due. Most of those that are short are done here, with a single thread and a single
// wake-up of it.
func (c *command) look(exit *wire.Exit, first time.Duration, whole bool) (ended bool) {
	left := c.nextCheck(0, firstLook)
	if c.req.Wall > 0 {
		left = min(left, c.req.Wall-time.Since(c.started))
	}
	if whole {
		left = min(left, first)
	}
	p := c.proc.Load()
	ws, ru, ended, lost := p.waitBriefly(left)
	if !ended {
		return false
	}
	exit.Lost = lost
	c.lastCheck(exit)
	c.ended(exit, ws, &ru)
	if whole {
		exit.PID = p.pid
	}
	return true
}

// supervise waits for the command's first process and enforces what the kernel does not enforce by itself.
func (c *command) supervise(exit *wire.Exit) {
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() { defer close(watched); c.enforce(exit, stop) }()

	p := c.proc.Load()
	ws, ru, lost := p.wait()
	if exit.Lost = lost; lost {
		go func() { _, _ = launch.Wait(p.pid, nil, 0, nil) }() // it can do nothing but die, one day
	}
	close(stop)
	<-watched
	c.ended(exit, ws, &ru)
}

// ended notes how the first process has ended.
func (c *command) ended(exit *wire.Exit, ws unix.WaitStatus, ru *unix.Rusage) {
	exit.Wall = time.Since(c.started)
	if c.late {
		exit.Ended = monotonic()
	}
	exit.Status = uint32(ws)
	exit.User, exit.System = time.Duration(ru.Utime.Nano()), time.Duration(ru.Stime.Nano())
	exit.MaxRSS = ru.Maxrss << 10
	// The end of the sandbox reaches the program through PID 1, before anybody comes to the command.
	exit.Killed = c.killed.Load() || ws.Signaled() && ws.Signal() == unix.SIGKILL && c.box.isClosing()
}

// enforce ends the command when its time is up or when asked to, and returns when stop is closed.
func (c *command) enforce(exit *wire.Exit, stop <-chan struct{}) {
	var wall, check <-chan time.Time
	if c.req.Wall > 0 {
		t := time.NewTimer(c.req.Wall - time.Since(c.started))
		defer t.Stop()
		wall = t.C
	}
	var timer *time.Timer
	every := firstLook
	if c.leaf != nil {
		timer = time.NewTimer(c.nextCheck(0, every))
		defer timer.Stop()
		check = timer.C
	}
	asked := c.stop
	for {
		select {
		case <-stop:
			c.lastCheck(exit)
			return
		case <-asked:
			asked = nil
			c.end(exit)
		case <-wall:
			wall = nil
			exit.WallHit = true
			c.end(exit)
		case <-check:
			used, err := c.leaf.CPUUsage()
			if err == nil && c.req.CPU > 0 && used >= c.req.CPU {
				exit.CPUHit = true
				c.end(exit)
				check = nil
				continue
			}
			if c.groupKill() && c.oomKilled() {
				c.end(exit)
				check = nil
				continue
			}
			c.sample(exit)
			every = min(2*every, lastLook)
			timer.Reset(c.nextCheck(used, every))
		}
	}
}

// lastCheck sees a limit that was passed between the last look and the end.
func (c *command) lastCheck(exit *wire.Exit) {
	if c.leaf == nil || c.req.CPU == 0 {
		return
	}
	if used, err := c.leaf.CPUUsage(); err == nil && used >= c.req.CPU {
		exit.CPUHit = true
	}
}

// A command is looked at often when it is young and less often later.
const (
	firstLook = 10 * time.Millisecond
	lastLook  = 100 * time.Millisecond
)

// nextCheck is when to look next: at the latest when the limit could be reached, were all CPUs the command's; at least a
// millisecond from now, so that the kernel's accounts have moved on.
func (c *command) nextCheck(used, every time.Duration) time.Duration {
	if c.groupKill() {
		every = min(every, 20*time.Millisecond)
	}
	if c.req.CPU > 0 {
		every = min(every, max((c.req.CPU-used)/time.Duration(cpus), time.Millisecond))
	}
	return every
}

// sample notes how memory is split, for which the kernel keeps no peak.
func (c *command) sample(exit *wire.Exit) {
	s, err := c.leaf.Stats()
	if err != nil {
		return
	}
	exit.PeakAnon = max(exit.PeakAnon, s.Memory.Anon)
	exit.PeakFile = max(exit.PeakFile, s.Memory.File)
}

// end kills every process of the command. With neither cgroup nor PID namespace that is its first process only, which New does not allow.
func (c *command) end(exit *wire.Exit) {
	_ = c.proc.Load().signal(unix.SIGKILL)
	go func() {
		if c.leaf != nil {
			_ = c.leaf.Kill(soon())
		}
	}()
	go c.giveUp()
}

// giveUp ends the wait for a process that SIGKILL does not end.
func (c *command) giveUp() {
	select {
	case <-time.After(endPatience):
		c.proc.Load().close()
	case <-c.settled:
	}
}

// settle kills what the command has left behind and reads its accounts, which go with its leaf.
func (c *command) settle(exit *wire.Exit) {
	close(c.settled)
	c.proc.Load().close()
	if c.leaf == nil {
		c.box.sweepProcesses(c, exit)
		return
	}
	if populated, err := c.leaf.Populated(); err == nil && populated && (!c.req.Keep || c.killed.Load()) {
		exit.Leftover = true
		_ = c.leaf.Kill(soon())
	}
	c.isOver() // of what does not die the sandbox's own group knows, see empty
	if s, err := c.leaf.Totals(); err == nil {
		exit.Stats, exit.HasStats = s, true
	}
}

func (c *command) isOver() {
	c.box.mu.Lock()
	defer c.box.mu.Unlock()
	c.over = true
}

// clear removes what is left of a command that has been settled.
func (c *command) clear() {
	switch {
	case c.leaf == nil:
		return
	case c.req.Keep:
		c.box.mu.Lock()
		c.box.kept = append(c.box.kept, keptLeaf{c.leaf, c.req.OwnMemory, c.req.OwnPids})
		c.box.mu.Unlock()
		c.box.tellAll()
		return
	}
	_ = c.leaf.Delete()
	c.box.tellAll()
	c.box.unnamed(c.leaf)
}

// sweepProcesses ends the leftovers of a command that had no cgroup, by killing all of the PID namespace but PID 1. Other commands
// of the sandbox are in it too, so this waits for the last of them. kill(-1) holds the kernel's task list
// lock: not even a fork bomb slips through.
func (b *box) sweepProcesses(c *command, exit *wire.Exit) {
	b.sweeping.Lock()
	defer b.sweeping.Unlock()
	b.mu.Lock()
	c.over = true
	last := !b.closing && b.ownPIDs
	for _, other := range b.commands {
		last = last && other.over
	}
	b.mu.Unlock()
	if !last {
		return
	}
	// A process is there until it has died, which a signal only begins.
	for until, wait := soon(), 100*time.Microsecond; b.killAll() && time.Now().Before(until); wait = min(2*wait, 10*time.Millisecond) {
		exit.Leftover = true
		time.Sleep(wait)
		launch.ReapStrangers() // a zombie is killed with success
	}
}

// killAll kills everything in the PID namespace but PID 1. It tells whether there was anything.
func (b *box) killAll() bool {
	bld := plan.NewBuilder()
	bld.Stage("leftovers")
	pidfd := bld.Input("sandbox")
	flags := uint64(unix.CLONE_NEWPID)
	if b.userNS {
		flags |= unix.CLONE_NEWUSER
	}
	bld.Call(unix.SYS_SETNS, "setns", "sandbox", plan.R(pidfd), plan.Int(flags))
	bld.Call(unix.SYS_CLONE3, "clone3", "process", plan.Cell(plan.CellInner), plan.Int(88)).Fork = true
	bld.Call(unix.SYS_KILL, "kill", "all", plan.Int(-1), plan.Int(int(unix.SIGKILL)))
	proc, err := launch.Launch(&launch.Request{Plan: bld.Plan(), Files: []int{b.pidfd}, Mode: launch.Join, Cgroup: -1, Until: soon()})
	if err != nil {
		return false // ESRCH, when there is nobody
	}
	_, _ = launch.Wait(proc.PID, nil, 0, nil)
	_ = unix.Close(proc.PIDFD)
	return true
}
