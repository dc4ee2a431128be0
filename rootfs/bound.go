package rootfs

import (
	"errors"
	"fmt"
)

// Bound is how much a directory of the host may hold, with all that is below it: a project quota of its file system, which ext4 (made with -O quota,project) and xfs have
// where they are mounted with the option prjquota. The kernel enforces it against everybody but root of the host.
type Bound struct {
	Bytes int64 // rounded up to 1024; what the file system needs to keep track of files counts
	Files int64 // files and directories
}

// FilesFor is how many files go with a bound in bytes: one for each 4096, at least 16384 and at most 1048576.
func FilesFor(bytes int64) int64 { return min(max(bytes/4096, 1<<14), 1<<20) }

// Project ids of ours: what administrators give away in /etc/projid are small numbers.
const (
	firstProject = 1 << 30
	lastProject  = 1<<31 - 1
)

func ourProject(id uint32) bool { return id >= firstProject && id <= lastProject }

var (
	errNoQuota = fmt.Errorf("its file system enforces no project quotas, which the bound in size would be: use xfs or ext4 (mkfs.ext4 -O quota,project, or tune2fs -O quota,project -Q prjquota) mounted with -o prjquota, "+
		"on Linux 5.14, or ask for no bound: %w", errors.ErrUnsupported)
	errBusyProjects = errors.New("no free project id was found")
)
