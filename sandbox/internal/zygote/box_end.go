//go:build linux

package zygote

import (
	"fmt"
	"time"

	"github.com/belljar-go/belljar/sandbox/internal/launch"
	"github.com/belljar-go/belljar/sandbox/internal/wire"
	"golang.org/x/sys/unix"
)

// kill ends everything in the sandbox without waiting for it.
func (b *box) kill() {
	b.mu.Lock()
	b.closing = true
	for h := range b.walks {
		h.Kill()
	}
	b.mu.Unlock()
	if b.init != nil {
		_ = b.init.signal(unix.SIGKILL)
	}
	b.killGroup()
}

// killGroup kills what does not die with PID 1.
func (b *box) killGroup() {
	b.mu.Lock()
	frozen := b.frozen
	b.mu.Unlock()
	if b.group != nil && (!b.ownPIDs || frozen) {
		_ = b.group.Kill(soon())
	}
}

// end kills the sandbox and gives back all it holds. It may be called often; each call returns the first one's result.
//
// All is done by the calling thread. While the kernel takes PID 1 apart, and with it the namespaces, the groups are removed, which PID 1 is in none of.
func (z *zygote) end(b *box) error {
	b.ended.Do(func() {
		watch := stopwatch{a: &b.endSaid, last: time.Now()}
		z.deaths.forget(b)
		b.kill()
		for _, c := range b.list() {
			c.kill()
		}
		b.starting.Wait()
		b.killGroup() // what a launch under way has added meanwhile
		z.spares.remove(b)
		unspared := b.spare.giveBack(true)
		watch.lap("kill")
		if z.buryAll(b) {
			_ = b.removeGroup() // if it cannot be yet, release tells
		}
		watch.lap("cgroup")
		unspared()
		b.endErr = b.dismantle()
		watch.lap("PID 1")
		z.mu.Lock()
		delete(z.boxes, b.id)
		z.mu.Unlock()
		close(b.closed)
	})
	<-b.closed
	return b.endErr
}

// buryAll removes what is left of commands of which all is known and told, and tells whether the sandbox's groups are empty for sure.
func (z *zygote) buryAll(b *box) (empty bool) {
	empty = true
	for _, c := range b.list() {
		if c.reported.Load() {
			z.bury(c)
		} else {
			empty = false
		}
	}
	return empty && b.initLeaf == nil && len(b.kept) == 0
}

func (b *box) isClosing() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closing
}

func (b *box) list() []*command {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := make([]*command, 0, len(b.commands))
	for _, c := range b.commands {
		list = append(list, c)
	}
	return list
}

// awaitGone waits for PID 1, which ends when everything in its PID namespace has been waited for: also by us, if a job made children of
// ours, see launch.ReapStrangers.
func (b *box) awaitGone() bool {
	late := soon()
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if b.init.ends(wait) && b.reap() {
			return true
		}
		if time.Now().After(late) {
			return false
		}
		launch.ReapStrangers()
	}
}

// dismantle waits for the dead and releases what is held. What a process holds that cannot die yet is released when it does.
func (b *box) dismantle() error {
	if b.lifeline >= 0 {
		_ = unix.Close(b.lifeline)
		b.lifeline = -1
	}
	if b.init == nil || b.awaitGone() {
		return b.release()
	}
	b.late.Add(1)
	go func() {
		defer b.late.Done()
		for !b.awaitGone() {
		}
		_ = b.release()
	}()
	return &stageError{"close", "kill", "sandbox", fmt.Errorf("a process does not die (it waits for a device or a file system that does not answer): %w", unix.EBUSY)}
}

// release gives back what the sandbox held. All its processes are gone.
func (b *box) release() error {
	if b.init != nil {
		b.running.Wait()
		b.init.close()
	}
	if b.pidfd >= 0 {
		_ = unix.Close(b.pidfd)
		b.pidfd = -1
	}
	if b.ruleset >= 0 {
		_ = unix.Close(b.ruleset)
		b.ruleset = -1
	}
	if b.net != nil {
		b.net.group, b.net.noted = b.group, b.noted >= 0 && !b.astray.Load()
		b.nets.back(b.net, b.netKept.Load() && b.ownPIDs && b.init != nil)
		b.net = nil
	}
	for _, k := range b.kept {
		_ = k.leaf.Kill(soon())
		_ = k.leaf.Delete()
	}
	if b.initLeaf != nil {
		_ = b.initLeaf.Delete()
	}
	err := b.removeGroup()
	b.ids.release()
	b.upper.Release()
	b.spare.line.close()
	return err
}

// removeGroup removes the sandbox's group, once.
func (b *box) removeGroup() error {
	if b.group == nil || b.ungrouped {
		return nil
	}
	err := b.group.Delete()
	b.tellAll()
	if err == nil {
		b.ungrouped = true
		b.leave()
	}
	return err
}

func (z *zygote) closeBox(m *wire.Message) (*wire.Answer, error) {
	var req wire.BoxRequest
	if err := m.Decode(&req); err != nil {
		return nil, err
	}
	b, err := z.box(req.Box)
	if err != nil {
		return nil, nil
	}
	b.netKept.Store(req.Kept)
	if err := z.end(b); err != nil {
		return nil, err
	}
	return &b.endSaid, nil
}
