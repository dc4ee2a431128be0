package cgroup

import (
	"fmt"
	"math/bits"
	"strconv"
)

// HugepageLimit bounds the huge pages of one size. The sizes that a machine has
// are in /sys/kernel/mm/hugepages.
type HugepageLimit struct {
	Size int64 // of a page, in bytes: 2097152
	// Limit in bytes for all of them together. The kernel rounds down to whole
	// pages; 0 allows none, Max takes a limit away.
	Limit int64
}

// name is the size as it is part of the names of files (mem_fmt in
// mm/hugetlb_cgroup.c): 64KB, 2MB, 1GB.
func (h HugepageLimit) name() string {
	for _, u := range []struct {
		n    int64
		unit string
	}{{1 << 30, "GB"}, {1 << 20, "MB"}} {
		if h.Size >= u.n {
			return strconv.FormatInt(h.Size/u.n, 10) + u.unit
		}
	}
	return strconv.FormatInt(h.Size>>10, 10) + "KB"
}

// String is "2MB=4194304".
func (h HugepageLimit) String() string { return h.name() + "=" + maxOr(h.Limit) }

func (l Limits) validateHugepages() error {
	seen := map[int64]bool{}
	for _, h := range l.Hugepages {
		bad := func(why string) error {
			return &InvalidError{"Hugepages", fmt.Sprintf("%d=%s", h.Size, maxOr(h.Limit)), why}
		}
		switch {
		case h.Size < 8192 || h.Size > 1<<40 || bits.OnesCount64(uint64(h.Size)) != 1:
			return bad("is no size of huge pages")
		case seen[h.Size]:
			return bad("names a size that was named before")
		case h.Limit < 0 && h.Limit != Max:
			return bad("negative")
		}
		seen[h.Size] = true
	}
	return nil
}

// mergeHugepages is a with the entries of b in place of those of the same size.
func mergeHugepages(a, b []HugepageLimit) []HugepageLimit {
	all := append([]HugepageLimit(nil), a...)
next:
	for _, o := range b {
		for i := range all {
			if all[i].Size == o.Size {
				all[i] = o
				continue next
			}
		}
		all = append(all, o)
	}
	return all
}

// undoHugepages is what must be set so that a holds again after b has been set.
func undoHugepages(a, b []HugepageLimit) []HugepageLimit {
	free := make([]HugepageLimit, len(b))
	for i, o := range b {
		free[i] = HugepageLimit{Size: o.Size, Limit: Max}
	}
	return mergeHugepages(free, a)
}
