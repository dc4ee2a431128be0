package rootfs

import (
	"io/fs"
	"strings"
)

// Flags are what may be asked of a [Bind]. The zero Flags are a writable bind of a source
// that has to exist.
type Flags uint8

const (
	// BindReadOnly makes the bind, and all that is mounted below it, read-only.
	BindReadOnly Flags = 1 << iota
	// BindNoExec forbids to execute or map executable what is on the bind.
	BindNoExec
	// BindOptional leaves the bind out if the source does not exist. Any other fault of
	// the source stays an error.
	BindOptional
	// BindNoSUID says that programs on the bind gain nothing by being setuid, setgid or
	// having file capabilities. Every bind is so, asked for or not.
	BindNoSUID
	// BindNoDev says that device nodes on the bind are dead. Every bind is so, asked for or
	// not.
	BindNoDev
	// BindCreate makes the source, a directory, if there is none: with mode 0755 and
	// belonging to the job. It is the only thing by which a bind makes anything on the host.
	BindCreate

	bindAll = BindReadOnly | BindNoExec | BindOptional | BindNoSUID | BindNoDev | BindCreate
)

// String returns the flags as mount options, separated by commas: ro or rw first.
func (f Flags) String() string {
	words := []string{"rw"}
	if f&BindReadOnly != 0 {
		words[0] = "ro"
	}
	if f&BindNoExec != 0 {
		words = append(words, "noexec")
	}
	for _, w := range []struct {
		flag Flags
		word string
	}{{BindNoSUID, "nosuid"}, {BindNoDev, "nodev"}, {BindOptional, "optional"}, {BindCreate, "create"}} {
		if f&w.flag != 0 {
			words = append(words, w.word)
		}
	}
	if f&^bindAll != 0 {
		words = append(words, "unknown")
	}
	return strings.Join(words, ",")
}

// Bytes returns the size of the file system with the default filled in.
func (o Tmpfs) Bytes() int64 { return orDefault(o.Size, DefaultTmpfsSize) }

// Files returns how many inodes the file system has, with the default filled in.
func (o Tmpfs) Files() int64 { return orDefault(o.Inodes, DefaultTmpfsInodes) }

// ShmBytes returns the size of shm with the default filled in.
func (o Dev) ShmBytes() int64 { return orDefault(o.ShmSize, DefaultShmSize) }

// Perm returns the mode as the kernel counts it, with the default filled in.
func (o Tmpfs) Perm() uint32 { return perm(o.Mode, 0o755) }

// Perm returns the mode as the kernel counts it, with the default filled in.
func (o File) Perm() uint32 { return perm(o.Mode, 0o644) }

// Perm returns the mode as the kernel counts it, with the default filled in.
func (o Dir) Perm() uint32 { return perm(o.Mode, 0o755) }

func orDefault(n, instead int64) int64 {
	if n == 0 {
		return instead
	}
	return n
}

func perm(m fs.FileMode, instead uint32) uint32 {
	if m == 0 {
		return instead
	}
	bits := uint32(m.Perm())
	if m&fs.ModeSticky != 0 {
		bits |= 0o1000
	}
	return bits
}
