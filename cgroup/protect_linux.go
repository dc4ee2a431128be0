package cgroup

import (
	"path"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// Protection (memory.low, memory.min) reaches a group only as far as the group
// above has it (effective_protection in mm/page_counter.c). So the group of the
// program gets as much as its sandboxes ask for together, and those above,
// which are not ours, must have it already.
var protected = struct {
	sync.Mutex
	sums map[string]*[2]int64 // by directory: low and min
}{sums: map[string]*[2]int64{}}

var protectionFiles = [2]struct{ file, field string }{{"memory.low", "MemoryLow"}, {"memory.min", "MemoryMin"}}

// protect changes what the group above p's protects for its groups by the
// difference of two limits. It changes nothing if it fails.
func (p *place) protect(from, to Limits) error {
	before, after := from.protection(), to.protection()
	if p == nil || before == after {
		return nil
	}
	dir := path.Dir(p.Path)
	protected.Lock()
	defer protected.Unlock()
	sum := protected.sums[dir]
	if sum == nil {
		sum = &[2]int64{}
	}
	next := *sum
	for i := range next {
		next[i] += after[i] - before[i]
		if after[i] > before[i] {
			if err := protectedAbove(dir, i, next[i]); err != nil {
				return err
			}
		}
	}
	for i, f := range protectionFiles {
		if next[i] == sum[i] {
			continue
		}
		if err := writeAt(unix.AT_FDCWD, dir+"/"+f.file, protection(next[i])); err != nil {
			for j := range i {
				_ = writeAt(unix.AT_FDCWD, dir+"/"+protectionFiles[j].file, protection(sum[j]))
			}
			return &Error{Op: "write", Path: dir + "/" + f.file, Data: protection(next[i]), Err: err}
		}
	}
	if next == ([2]int64{}) {
		delete(protected.sums, dir)
	} else {
		protected.sums[dir] = &next
	}
	return nil
}

func (l Limits) protection() [2]int64 { return [2]int64{max(l.MemoryLow, 0), max(l.MemoryMin, 0)} }

// protectedAbove looks whether the groups above dir, up to the root or to where
// nothing can be seen any more, protect as much.
func protectedAbove(dir string, which int, n int64) error {
	f := protectionFiles[which]
	for dir = path.Dir(dir); ; dir = path.Dir(dir) {
		s, err := readString(unix.AT_FDCWD, dir+"/"+f.file)
		if err != nil { // the root has no such file
			return nil
		}
		if v, ok := parseUint([]byte(s)); ok && bytesOf(v) < n {
			return &UnsupportedError{
				Feature: f.field, Reason: dir + "/" + f.file + " is " + strings.TrimSpace(s) + ", and what is below it is protected no further",
				Remedy: "as root: echo " + protection(n) + " > " + dir + "/" + f.file, Fields: []string{f.field},
			}
		}
	}
}
