package sandbox

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// watchedPool is a pool that makes one sandbox at a time and keeps so many warm. It tells what has been made and what has been made warm, in that order.
type watchedPool struct {
	*Pool
	mu         sync.Mutex
	made, warm []*Sandbox
	before     func(*Sandbox) // called before a sandbox is made warm
}

func newWatchedPool(t *testing.T, size, near int) *watchedPool {
	t.Helper()
	p := &watchedPool{Pool: newPool(t, 1)} // which says whether this host can
	require.NoError(t, p.Close())
	open := p.open
	p.Pool = &Pool{size: size, makers: 1, near: near, pause: poolRetryMin, lent: map[*Sandbox]struct{}{}, warm: map[*Sandbox]struct{}{}}
	p.Pool.open = func() (*Sandbox, error) {
		sb, err := open()
		p.mu.Lock()
		defer p.mu.Unlock()
		p.made = append(p.made, sb)
		return sb, err
	}
	p.heat = func(sb *Sandbox) {
		if p.before != nil {
			p.before(sb)
		}
		sb.engine.warm(&p.habit)
		p.mu.Lock()
		defer p.mu.Unlock()
		p.warm = append(p.warm, sb)
	}
	t.Cleanup(func() { require.NoError(t, p.Pool.Close()) })
	p.Pool.mu.Lock()
	defer p.Pool.mu.Unlock()
	p.refill()
	return p
}

// full waits until all of them are ready but so many that are lent.
func (p *watchedPool) full(t *testing.T, lent int) {
	t.Helper()
	eventually(t, "all are made", func() bool { s := p.Stats(); return s.Lent == lent && s.Ready == p.size-lent })
}

func (p *watchedPool) lists() (made, warm []*Sandbox) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.made), slices.Clone(p.warm)
}

// However many sandboxes a pool has, those that are handed out next are warm, and they are handed out in the order in which they were made.
func TestPoolWarmsTheNext(t *testing.T) {
	t.Parallel()
	const size, near = 6, 2
	p := newWatchedPool(t, size, near)
	p.full(t, 0)
	made, warm := p.lists()
	require.Equal(t, made[:near], warm, "no more than those")
	for i := range 2 * size {
		sb := get(t, p.Pool)
		made, warm := p.lists()
		assert.Same(t, made[i], sb, "the oldest")
		assert.Contains(t, warm, sb)
		assert.Len(t, warm, i+near)
		res, err := sb.Run(inTime(t), "/bin/true")
		require.NoError(t, err)
		require.NoError(t, res.Err())
		require.NoError(t, sb.Close())
		p.full(t, 0)
	}
	// Many at once: they are all warm that could be, and the first of the rest is, as soon as one is made.
	var lent []*Sandbox
	for range size {
		lent = append(lent, get(t, p.Pool))
	}
	_, warm = p.lists()
	assert.Subset(t, warm, lent[:near])
	require.NoError(t, lent[0].Close())
	p.full(t, size-1)
	made, warm = p.lists()
	assert.Same(t, made[len(made)-1], warm[len(warm)-1])
	assert.Same(t, made[len(made)-1], get(t, p.Pool))
}

// What is being made warm is nobody's to take, counts for the pool's size, and if it ends meanwhile another is made in its place.
func TestPoolWhileWarming(t *testing.T) {
	t.Parallel()
	const size = 3
	p := newWatchedPool(t, size, 1)
	p.full(t, 0)
	warming, goOn := make(chan *Sandbox), make(chan struct{})
	let := sync.OnceFunc(func() { close(goOn) })
	t.Cleanup(let)
	p.before = func(sb *Sandbox) { // of the next one alone
		p.before = nil
		warming <- sb
		<-goOn
	}
	first := get(t, p.Pool)
	require.NoError(t, first.Close())
	sb := <-warming
	made, _ := p.lists()
	assert.Same(t, made[1], sb, "the next, not the newest")
	s := p.Stats()
	assert.Equal(t, []int{2, 1, 0}, []int{s.Ready, s.Making, s.Lent})
	assert.Same(t, made[2], get(t, p.Pool), "another is handed out meanwhile")
	require.NoError(t, unix.Kill(sb.PID(), unix.SIGKILL))
	require.NoError(t, sb.Wait())
	let()
	p.full(t, 1)
	s = p.Stats()
	assert.Equal(t, []int{2, 0, 1}, []int{s.Ready, s.Making, s.Lent})
	assert.Equal(t, uint64(1), s.Discarded)
	assert.Equal(t, uint64(size+2), s.Created)
	assert.Same(t, made[3], get(t, p.Pool))
}
