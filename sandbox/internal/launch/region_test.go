//go:build linux

package launch

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Nobody's memory is anybody else's, and none that fits into a slab lies in two.
func TestRegion(t *testing.T) {
	var r region
	r.grow()
	var mu sync.Mutex
	held := map[uintptr]int{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			var own [][]byte
			for range 500 {
				if len(own) > 0 && rand.IntN(2) == 0 {
					i := rand.IntN(len(own))
					m := own[i]
					own = slices.Delete(own, i, i+1)
					assert.Equal(t, m[0], m[len(m)-1], "as it was written")
					mu.Lock()
					delete(held, addressOf(m))
					mu.Unlock()
					r.give(m)
					continue
				}
				size := 1 << (10 + rand.IntN(13)) // up to 4 MiB
				m, err := r.take(size - rand.IntN(size/2))
				if !assert.NoError(t, err) {
					return
				}
				from, to := addressOf(m), addressOf(m)+uintptr(len(m))
				if len(m) <= slab {
					assert.Equal(t, from/slab, (to-1)/slab)
				}
				mu.Lock()
				for at, n := range held {
					assert.False(t, from < at+uintptr(n) && at < to, "%#x-%#x and %#x-%#x", from, to, at, at+uintptr(n))
				}
				held[from] = len(m)
				mu.Unlock()
				m[0] = byte(len(own))
				m[len(m)-1] = m[0]
				own = append(own, m)
			}
		})
	}
	wg.Wait()
	require.NoError(t, unix.Munmap(r.mem))
}

func TestRegionIsFull(t *testing.T) {
	var r region
	_, err := r.take(1)
	require.NoError(t, err)
	_, err = r.take(len(r.mem))
	require.ErrorIs(t, err, unix.ENOMEM)
	big, err := r.take((len(r.mem) - r.used) &^ (slab - 1))
	require.NoError(t, err)
	_, err = r.take(slab)
	require.ErrorIs(t, err, unix.ENOMEM)
	_, err = r.take(1)
	require.NoError(t, err, "what has been begun is used up")
	big[0] = 1
	r.give(big)
	again, err := r.take(len(big))
	require.NoError(t, err)
	assert.Equal(t, addressOf(big), addressOf(again))
	assert.Zero(t, again[0], "the pages were given back")
	require.NoError(t, unix.Munmap(r.mem))
}

// It is as large as it was asked to be before it was needed.
func TestRegionGrows(t *testing.T) {
	for _, want := range []int{regionLeast, regionMost} {
		var r region
		if want == regionMost {
			r.grow()
		}
		_, err := r.take(1)
		require.NoError(t, err)
		assert.Len(t, r.mem, want+slab)
		r.grow()
		_, err = r.take(slab)
		require.NoError(t, err)
		assert.Len(t, r.mem, want+slab)
		require.NoError(t, unix.Munmap(r.mem))
	}
}

func TestClasses(t *testing.T) {
	for size, want := range map[int]int{1: littleArena, littleArena: littleArena, littleArena + 1: 2 * littleArena, smallArena: smallArena, slab: slab, slab + 1: 2 * slab} {
		assert.Equal(t, want, classOf(size))
	}
}
