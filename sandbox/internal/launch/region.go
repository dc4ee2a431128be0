//go:build linux

package launch

import (
	"fmt"
	"math/bits"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// region is the one mapping that all arenas lie in, shared with whoever is forked from this process: so processes that have nothing else of this process's memory, see seed, find an arena
// where this process has it, however late it is made.
//
// No arena lies in two page tables of the last level: the one that a process in a job's cgroup needs for its arena, and that would count as the job's memory, is there before it, since
// whoever clones that process reads the arguments for it from there.
type region struct {
	mu   sync.Mutex
	want int // addresses, not memory; 0: regionLeast
	mem  []byte
	used int           // from the start, in slabs
	free map[int][]int // offsets of what nobody has, by size
}

const (
	regionMost  = 1 << 30 // for a process that launches others without end
	regionLeast = 1 << 25
	slab        = 2 << 20 // what a page table of the last level maps
)

var arenas region

// reserve maps the region. A limit on addresses (RLIMIT_AS) or on what may be promised (vm.overcommit_memory, proc(5)) makes it smaller.
func (r *region) reserve() (err error) {
	if r.mem != nil {
		return nil
	}
	for size := max(r.want, regionLeast); size >= regionLeast; size /= 2 {
		if r.mem, err = unix.Mmap(-1, 0, size+slab, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE); err == nil {
			r.used = -int(addressOf(r.mem)) & (slab - 1)
			r.free = map[int][]int{}
			return nil
		}
	}
	return fmt.Errorf("reserve %d MiB of addresses: %w", regionLeast>>20, err)
}

// grow has the region be large, if nothing lies in it yet.
func (r *region) grow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.want = regionMost
}

// whole is where the region lies.
func (r *region) whole() (span, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.reserve()
	from := addressOf(r.mem)
	return span{from, from + uintptr(len(r.mem))}, err
}

// take returns memory of at least that size. What it holds is unknown.
func (r *region) take(size int) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.reserve(); err != nil {
		return nil, err
	}
	size = classOf(size)
	if n := len(r.free[size]); n > 0 {
		at := r.free[size][n-1]
		r.free[size] = r.free[size][:n-1]
		return r.at(at, size), nil
	}
	most := max(size, slab)
	if most > len(r.mem)-r.used {
		return nil, fmt.Errorf("%d bytes beside %d in use: %w", size, r.used, unix.ENOMEM)
	}
	first := r.used
	r.used += most
	for at := first + most - size; at > first; at -= size {
		r.free[size] = append(r.free[size], at)
	}
	return r.at(first, size), nil
}

func addressOf(mem []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(mem))) }

func (r *region) at(off, size int) []byte { return r.mem[off : off+size : off+size] }

// give takes back what take has returned.
func (r *region) give(mem []byte) {
	_ = unix.Madvise(mem, unix.MADV_REMOVE) // the pages are the kernel's again
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free[len(mem)] = append(r.free[len(mem)], int(addressOf(mem)-addressOf(r.mem)))
}

// classOf is the size that memory is taken in: a power of two up to a slab, slabs beyond.
func classOf(size int) int {
	if size > slab {
		return (size + slab - 1) &^ (slab - 1)
	}
	return max(littleArena, 1<<bits.Len(uint(size-1)))
}
