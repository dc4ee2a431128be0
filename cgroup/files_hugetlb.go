package cgroup

import "strconv"

// hugepageLimits bounds use, and reservations where the kernel can.
func hugepageLimits(version int, l Limits, write writer) {
	for _, h := range l.Hugepages {
		file, data := "hugetlb."+h.name(), maxOr(h.Limit)
		if version == 2 {
			write(file+".max", data)
			write(file+".rsvd.max", data).optional = true
			continue
		}
		data = strconv.FormatInt(h.Limit, 10) // -1 for no limit
		write(file+".limit_in_bytes", data)
		write(file+".rsvd.limit_in_bytes", data).optional = true
	}
}
