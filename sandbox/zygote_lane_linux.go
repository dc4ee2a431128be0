package sandbox

import (
	"context"
	"errors"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// A lane is a socket of its own for commands of which only the end is of interest, one at a time: who asks waits for the answer in the very call that receives it. By the
// socket that all share it would take another goroutine, the runtime's poller and two more changes of threads, which for a short command is as much as the command itself.
// Nobody waits there for long: the zygote says so when a program runs for more than a moment, and its end comes by the other socket.

// maxLanes bounds how many threads of the program may be blocked in lanes. Whoever finds none free uses the socket that all share.
const maxLanes = 4

// takeLane returns a lane that nobody uses, or nil.
func (c *zygoteClient) takeLane() *wire.Conn {
	c.mu.Lock()
	n := len(c.lanes)
	switch {
	case c.gone:
	case n > 0:
		lane := c.lanes[n-1]
		c.lanes = c.lanes[:n-1]
		c.mu.Unlock()
		return lane
	case c.inLanes < maxLanes:
		c.inLanes++
		c.mu.Unlock()
		lane, err := c.openLane()
		if err != nil {
			c.closeLane(nil)
		}
		return lane
	}
	c.mu.Unlock()
	return nil
}

// openLane makes another lane. The zygote may take its time to listen there.
func (c *zygoteClient) openLane() (*wire.Conn, error) {
	if err := c.up(); err != nil {
		return nil, err
	}
	ours, theirs, err := wire.Pair()
	if err != nil {
		return nil, err
	}
	defer unix.Close(theirs)
	lane, err := wire.NewBlockingConn(ours)
	if err != nil {
		_ = unix.Close(ours)
		return nil, err
	}
	if err := c.conn.Send(wire.Lane, 0, nil, nil, []int{theirs}); err != nil {
		_ = lane.Close()
		return nil, err
	}
	return lane, nil
}

// leaveLane gives a lane back on which nothing is under way.
func (c *zygoteClient) leaveLane(lane *wire.Conn) {
	c.mu.Lock()
	if !c.gone {
		c.lanes = append(c.lanes, lane)
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.closeLane(lane)
}

// closeLane gives up one that is of no use any more; nil stands for one that never was.
func (c *zygoteClient) closeLane(lane *wire.Conn) {
	if lane != nil {
		_ = lane.Close()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inLanes--
}

// closeLanes closes those that nobody uses. The zygote is gone, so nobody gives back another.
func (c *zygoteClient) closeLanes() {
	c.mu.Lock()
	lanes := c.lanes
	c.lanes = nil
	c.mu.Unlock()
	for _, l := range lanes {
		c.closeLane(l)
	}
}

// errNoLane: the request has not been sent.
var errNoLane = errors.New("no lane")

// startOnLane is begin and awaitStart for a command of which nobody needs to know when it starts.
func (e *engine) startOnLane(ctx context.Context, r request) (id uint64, m *wire.Message, cut bool, err error) {
	c := e.z
	lane := c.takeLane()
	if lane == nil {
		return 0, nil, false, errNoLane
	}
	r.tampered()
	id = c.idOf(&r)
	c.mu.Lock()
	c.exits[id] = r.exit // should the program run for longer
	c.mu.Unlock()
	if lane.Send(r.kind, id, r.body, r.raw(), r.files) != nil {
		c.closeLane(lane)
		c.forget(id)
		return 0, nil, false, errNoLane // the other socket tells what is the matter
	}
	left := make(chan struct{})
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(left)
		e.abandon(id, lane, over)
	})
	m, err = lane.Receive()
	close(over)
	if cut = !stop(); cut {
		<-left
	}
	if err != nil || cut {
		c.closeLane(lane) // it may have been shut
	} else {
		c.leaveLane(lane)
	}
	if err == nil {
		if m.Kind == wire.Exited {
			c.forget(id)
		}
		return id, m, cut, nil
	}
	c.forget(id)
	if cut {
		return 0, nil, true, cutError(ctx)
	}
	return 0, nil, false, c.lost(err)
}

// lost is the error for who finds his socket to the zygote closed: it is its death that does that.
func (c *zygoteClient) lost(err error) error {
	select {
	case <-c.dead:
		err = c.why
	case <-time.After(lanePatience):
	}
	return &Error{Stage: "zygote", Op: "receive", Err: err}
}

// lanePatience is how long the end of a zygote may take that has closed its sockets: it clears away what it had.
const lanePatience = 10 * time.Second

// abandon ends a command whose context is done. A launch that neither succeeds nor dies is left to the zygote, and with it the lane.
func (e *engine) abandon(id uint64, lane *wire.Conn, over <-chan struct{}) {
	go e.kill(id)
	select {
	case <-over:
	case <-time.After(time.Second):
		lane.Shut()
	}
}
