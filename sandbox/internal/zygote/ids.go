//go:build linux

package zygote

import (
	"fmt"
	"math/rand/v2"
	"os"

	"golang.org/x/sys/unix"
)

// Ranges of ids for sandboxes: 65536 each, between 2^30 and 2^31. Real accounts, subordinate ranges and most container managers stay below.
const (
	firstID   = 1 << 30
	rangeSize = 1 << 16
	ranges    = (1<<31-firstID)/rangeSize - 1
)

// idRange is a range of host ids that no other sandbox has while it is held.
type idRange struct {
	base uint32
	lock int
}

// claimRange takes a free range. The lock is the name of an abstract socket: it needs no file, and
// the kernel frees it with its last descriptor however the holder ends (unix(7)). It holds within a network namespace; programs in different ones start at random places.
func claimRange() (*idRange, error) {
	start := rand.IntN(ranges)
	for i := range ranges {
		n := (start + i) % ranges
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, os.NewSyscallError("socket", err)
		}
		base := uint32(firstID + n*rangeSize)
		err = unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("@belljar/ids/%d", base)})
		if err == nil {
			return &idRange{base: base, lock: fd}, nil
		}
		_ = unix.Close(fd)
		if err != unix.EADDRINUSE {
			return nil, os.NewSyscallError("bind", err)
		}
	}
	return nil, fmt.Errorf("all %d ranges of ids are in use: %w", ranges, unix.EUSERS)
}

func (r *idRange) release() {
	if r != nil {
		_ = unix.Close(r.lock)
	}
}
