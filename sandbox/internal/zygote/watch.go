//go:build linux

package zygote

import (
	"context"
	"sync"
	"time"

	"github.com/belljar-go/belljar/cgroup"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
)

// watcher passes on what happens in a sandbox's cgroup to the host program.
type watcher struct {
	id     uint64 // of the request
	box    *box
	conn   *wire.Conn
	events *cgroup.Events
	mu     sync.Mutex // held while events are taken and sent: whoever has had it finds them sent
}

// watchEvery is how often a sandbox's events are passed on at most; those in between come together.
const watchEvery = 20 * time.Millisecond

func (z *zygote) watchEvents(m *wire.Message) (*wire.Answer, error) {
	var req wire.WatchRequest
	if err := m.Decode(&req); err != nil {
		return nil, err
	}
	b, err := z.groupedBox(req.Box)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	b.told = true
	b.mu.Unlock()
	b.spare.dropReady()
	e, err := b.group.Events(context.Background(), cgroup.EventOptions{Kinds: cgroup.EventKind(req.Kinds), Optional: true})
	if err != nil {
		return nil, err
	}
	w := &watcher{id: m.ID, box: b, conn: z.conn, events: e}
	b.mu.Lock()
	b.watchers = append(b.watchers[:len(b.watchers):len(b.watchers)], w)
	b.mu.Unlock()
	go w.run() // until the group is gone, at the latest
	return &wire.Answer{Kinds: uint16(e.Kinds())}, nil
}

func (z *zygote) unwatchEvents(m *wire.Message) error {
	var req wire.WatchRequest
	if err := m.Decode(&req); err != nil {
		return err
	}
	b, err := z.box(req.Box)
	if err != nil {
		return nil // and so is the watcher
	}
	b.mu.Lock()
	var left []*watcher
	for _, w := range b.watchers {
		if w.id == req.Watch {
			defer w.events.Close()
			continue
		}
		left = append(left, w)
	}
	b.watchers = left
	b.mu.Unlock()
	return nil
}

func (w *watcher) run() {
	for range w.events.Ready() {
		w.forward()
		time.Sleep(watchEvery)
	}
	w.forward()
}

func (w *watcher) forward() {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []wire.Event
	for _, ev := range w.events.Take() {
		list = append(list, wire.Event{Kind: uint16(ev.Kind), PID: w.box.pidOf(ev.Leaf), Count: ev.Count, Time: ev.Time})
	}
	if len(list) > 0 {
		_ = w.conn.Send(wire.Happened, w.id, wire.Happening{Events: list}, nil, nil)
	}
}

// watched tells whether anybody is told of events.
func (b *box) watched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.watchers) > 0
}

// tellAll has everything sent that has happened.
func (b *box) tellAll() {
	b.mu.Lock()
	list := b.watchers
	b.mu.Unlock()
	for _, w := range list {
		w.forward()
	}
}

// named notes which command a leaf is of, until its events have been sent.
func (b *box) named(leaf *cgroup.Leaf, pid int) {
	if leaf == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pids == nil {
		b.pids = map[string]int{}
	}
	b.pids[leaf.Name()] = pid
}

func (b *box) pidOf(leaf string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pids[leaf]
}

func (b *box) unnamed(leaf *cgroup.Leaf) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pids, leaf.Name())
}
