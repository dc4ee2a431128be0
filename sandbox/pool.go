package sandbox

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"time"
)

// Pool keeps sandboxes ready, all made from the same options, so that whoever needs one does not wait for its set-up. Each is handed
// out once: a sandbox that anything has run in is never given to somebody else, it is thrown away and a fresh one is made. What can be prepared of a command without
// knowing its program is ready in it as well, so that the first command costs no more than another one would. Its methods may be
// called from many goroutines. It must be closed.
type Pool struct {
	size   int // sandboxes at once: ready, being made and lent
	makers int // set-ups at once
	near   int // of those handed out next, how many are warm, see poolNear
	open   func() (*Sandbox, error)
	heat   func(*Sandbox) // makes it warm: its first command's things are ready
	habit  habit
	work   sync.WaitGroup // set-ups under way

	mu      sync.Mutex
	closed  bool
	ready   []*Sandbox // the oldest first, but those that are warm before the others
	warm    map[*Sandbox]struct{}
	lent    map[*Sandbox]struct{}
	making  int
	waiting []chan poolOffer // the oldest first; each takes one offer
	retry   *time.Timer      // after a set-up that failed while nobody waited
	pause   time.Duration    // how long the next retry waits
	counts  PoolStats        // Created, Discarded and Failed
}

// poolOffer is what a waiting Get is handed.
type poolOffer struct {
	sandbox *Sandbox
	err     error
}

// PoolStats says what a pool has and has done. At any moment Ready+Making+Lent is at most the pool's size.
type PoolStats struct {
	Ready   int // sandboxes that stand, never used
	Making  int // being set up
	Lent    int // handed out and not ended yet
	Waiting int // callers of Get that wait

	Created   uint64 // sandboxes set up since NewPool
	Discarded uint64 // of those, never handed out: they ended by themselves, or with the pool
	Failed    uint64 // set-ups that failed
}

// poolNear is less than the number of sandboxes for which the zygote keeps something ready (maxSpares in internal/zygote), since those that are in use have such things too, and
// what has been ready for longest goes first there.
const poolNear = 24

// Set-ups that fail while nobody waits are tried again, at growing intervals.
const (
	poolRetryMin = 100 * time.Millisecond
	poolRetryMax = 10 * time.Second
)

// NewPool makes a pool of n sandboxes, at least one. It returns when the first stands, so that options which make no sense or cannot be met
// on this host are its error, as they would be New's; the others follow in the background, no more at a time than there are CPUs.
//
// n bounds what exists at once, the sandboxes handed out included: when n have been handed out and none has ended, Get waits.
func NewPool(n int, opts ...Option) (*Pool, error) {
	if n < 1 {
		return nil, invalid("NewPool", "", "needs a size of at least 1")
	}
	s, err := newSpec(opts)
	if err != nil {
		return nil, err
	}
	p := &Pool{
		size: n, makers: min(n, runtime.GOMAXPROCS(0)), near: poolNear, lent: map[*Sandbox]struct{}{}, warm: map[*Sandbox]struct{}{}, pause: poolRetryMin,
		open: func() (*Sandbox, error) { return openSandbox(s) },
	}
	p.heat = func(sb *Sandbox) { sb.engine.warm(&p.habit) }
	sb, err := p.open()
	if err != nil {
		return nil, err
	}
	p.heat(sb)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.warm[sb] = struct{}{}
	p.take(sb)
	p.refill()
	return p, nil
}

// Get hands out a sandbox that stands and has never been used. It is the caller's, who must close it; that, or its end by any other cause,
// lets the pool make another. If there is none Get waits, those who came first being served first, until ctx is done,
// whose error it then returns. If a set-up fails while somebody waits, the one who has waited longest gets its error. After Close the
// error is ErrClosed.
func (p *Pool) Get(ctx context.Context) (*Sandbox, error) {
	defer region(ctx, "sandbox.Pool.Get").End()
	asked := time.Now()
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, &Error{Stage: "pool", Op: "get", Err: ErrClosed}
	}
	if sb := p.oldest(); sb != nil {
		p.mu.Unlock()
		sb.handedOut("pool", asked)
		return sb, nil
	}
	mine := make(chan poolOffer, 1)
	p.waiting = append(p.waiting, mine)
	p.refill()
	p.mu.Unlock()
	select {
	case o := <-mine:
		if o.sandbox != nil {
			o.sandbox.handedOut("pool", asked)
		}
		return o.sandbox, o.err
	case <-ctx.Done():
		return p.leave(ctx, mine)
	}
}

// oldest lends the sandbox that has been ready longest. One that has just ended stays, for ended to take it out. The caller holds the lock.
func (p *Pool) oldest() *Sandbox {
	for i, sb := range p.ready {
		if sb.State() != Exited {
			p.remove(i)
			p.lent[sb] = struct{}{}
			return sb
		}
	}
	return nil
}

// leave takes a caller out of the queue. What it was offered in the same moment goes to the next one.
func (p *Pool) leave(ctx context.Context, mine chan poolOffer) (*Sandbox, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.waiting, mine); i >= 0 {
		p.waiting = slices.Delete(p.waiting, i, i+1)
		return nil, ctx.Err()
	}
	o := <-mine
	if o.sandbox != nil {
		if _, still := p.lent[o.sandbox]; still {
			delete(p.lent, o.sandbox)
			p.offer(o.sandbox)
		}
	}
	return nil, ctx.Err()
}

// Stats returns the pool's figures.
func (p *Pool) Stats() PoolStats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.counts
	s.Ready, s.Making, s.Lent, s.Waiting = len(p.ready), p.making, len(p.lent), len(p.waiting)
	return s
}

// Close ends the sandboxes that are ready and waits for set-ups under way. Callers of Get get ErrClosed. Sandboxes that were handed out stay
// their holders'. Further calls do nothing.
func (p *Pool) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		p.work.Wait()
		return nil
	}
	p.closed = true
	if p.retry != nil {
		p.retry.Stop()
	}
	ready := slices.Clone(p.ready)
	for _, w := range p.waiting {
		w <- poolOffer{err: &Error{Stage: "pool", Op: "get", Err: ErrClosed}}
	}
	p.waiting = nil
	p.mu.Unlock()

	var errs []error
	for _, sb := range ready {
		errs = append(errs, sb.Close())
	}
	p.work.Wait()
	return errors.Join(errs...)
}

// refill begins as many set-ups as there is room for. The caller holds the lock.
func (p *Pool) refill() {
	for !p.closed && p.making < p.makers && len(p.ready)+len(p.lent)+p.making < p.size {
		p.making++
		p.work.Add(1)
		go p.makeOne()
	}
}

// remove takes out a sandbox that is ready. The caller holds the lock.
func (p *Pool) remove(i int) {
	delete(p.warm, p.ready[i])
	p.ready = slices.Delete(p.ready, i, i+1)
}

// firstCold is where those that are ready are no longer warm. The caller holds the lock.
func (p *Pool) firstCold() int {
	i := slices.IndexFunc(p.ready, func(sb *Sandbox) bool { _, warm := p.warm[sb]; return !warm })
	if i < 0 {
		return len(p.ready)
	}
	return i
}

// makeOne sets up one sandbox, and sees to it that those which are handed out next are warm, and to what comes next.
func (p *Pool) makeOne() {
	defer p.work.Done()
	label(context.Background(), "belljar", "refill")
	sb, err := p.open()
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.making--
		p.failed(err)
		return
	}
	sb, warm, taken := p.nearest(sb)
	if warm {
		p.heat(sb)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.making--
	p.pause = poolRetryMin
	if warm {
		p.warm[sb] = struct{}{}
	}
	switch {
	case !taken:
		p.take(sb)
	case sb.State() == Exited: // ended has not found it
		delete(p.warm, sb)
		p.counts.Discarded++
	default:
		p.offer(sb)
	}
	p.refill()
}

// nearest returns which sandbox is to be made warm now that another has been made: that one, or, if there are enough that will be handed out before it, one of those. It is not to be had
// meanwhile, and the one that has been made takes its place. Where somebody waits, or nobody is to have anything any more, none is. taken tells whether it is a member already.
func (p *Pool) nearest(made *Sandbox) (sb *Sandbox, warm, taken bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := p.firstCold()
	switch {
	case len(p.waiting) > 0 || p.closed || i >= p.near:
		return made, false, false
	case i == len(p.ready):
		return made, true, false
	}
	sb = p.ready[i]
	p.remove(i)
	p.take(made)
	return sb, true, true
}

// failed hands a failure to who has waited longest. Where nobody waits, it is tried again later. The caller holds the lock.
func (p *Pool) failed(err error) {
	p.counts.Failed++
	if p.closed {
		return
	}
	if len(p.waiting) > 0 {
		p.waiting[0] <- poolOffer{err: err}
		p.waiting = slices.Delete(p.waiting, 0, 1)
		if len(p.waiting) > 0 {
			p.refill()
			return
		}
	}
	if p.retry != nil {
		p.retry.Stop()
	}
	p.retry = time.AfterFunc(p.pause, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.refill()
	})
	p.pause = min(2*p.pause, poolRetryMax)
}

// take adds a sandbox that has just been made. The caller holds the lock.
func (p *Pool) take(sb *Sandbox) {
	p.counts.Created++
	sb.whenEnded(func() { p.ended(sb) })
	p.offer(sb)
}

// offer gives a sandbox to who has waited longest, or keeps it. The caller holds the lock.
func (p *Pool) offer(sb *Sandbox) {
	if p.closed {
		delete(p.warm, sb)
		p.counts.Discarded++
		p.work.Add(1)
		go func() { defer p.work.Done(); _ = sb.Close() }()
		return
	}
	if len(p.waiting) == 0 {
		at := len(p.ready)
		if _, warm := p.warm[sb]; warm {
			at = p.firstCold()
		}
		p.ready = slices.Insert(p.ready, at, sb)
		return
	}
	delete(p.warm, sb)
	p.lent[sb] = struct{}{}
	p.waiting[0] <- poolOffer{sandbox: sb}
	p.waiting = slices.Delete(p.waiting, 0, 1)
}

// ended makes room for another sandbox in the place of one that has ended.
func (p *Pool) ended(sb *Sandbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.Index(p.ready, sb); i >= 0 {
		p.remove(i)
		p.counts.Discarded++
	}
	delete(p.lent, sb)
	p.refill()
}
