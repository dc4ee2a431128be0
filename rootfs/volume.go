package rootfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// Volume is a directory of the host that lives on after the sandboxes it is shown in, and may be
// shared by several at once: what one writes the others see immediately. It is either named, and
// then kept in a store that makes it when it is first used, or any directory of the host.
//
// A Volume is a value: making one does nothing. What is written to it belongs, on disk, to the id
// the writer has inside, whatever ids of the host the sandbox runs with; to the caller, if the
// caller is an ordinary user and the writer the job. How much it can hold is not bounded but by
// the file system it is on, unless it has a Size.
type Volume struct {
	// Name is that of a named volume: letters, digits, '.', '_' and '-', up to 128, the first a
	// letter or digit.
	Name string
	// Store is the directory that named volumes are kept in; "" is [DefaultVolumeStore].
	Store string
	// Dir is a directory of the host, absolute, in place of Name and Store. It has to exist.
	Dir string
	// ReadOnly shows the volume read-only.
	ReadOnly bool
	// Size is how many bytes a named volume may hold, as project quota of its file system; see [Bound]. It holds for all who have the volume, until it is
	// removed or another size is asked for: the latest counts. 0 leaves it as it is, at first without a bound.
	Size int64
}

// NamedVolume returns the volume of that name in the default store.
func NamedVolume(name string) Volume { return Volume{Name: name} }

// HostVolume returns the volume that is a directory of the host.
func HostVolume(dir string) Volume { return Volume{Dir: dir} }

// ErrVolumeInUse is the error of removing a volume that a sandbox has.
var ErrVolumeInUse = errors.New("volume is in use")

// VolumeError says what was done to a volume and did not work.
type VolumeError struct {
	Op   string // the system call or step
	Path string // what it was done to
	Err  error
}

func (e *VolumeError) Error() string { return e.Op + " " + quote(e.Path) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *VolumeError) Unwrap() error { return e.Err }

// DefaultVolumeStore returns where named volumes are kept that name no store:
// /var/lib/belljar/volumes for root; for others belljar/volumes in XDG_DATA_HOME, which is
// ~/.local/share if it is not set (XDG Base Directory Specification). It is "" for a user without
// a home.
func DefaultVolumeStore() string { return dataDir("volumes") }

var volumeName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

// validName: the length is no part of the expression, which every program that imports this would take a millisecond at its start to compile.
func validName(name string) bool { return len(name) <= 128 && volumeName.MatchString(name) }

// Validate reports, as an [*Error], a volume that has neither or both of a name and a directory,
// or an impossible one.
func (v Volume) Validate() error {
	fail := func(at, why string) error { return &Error{Index: -1, Op: "volume", Path: at, Why: why} }
	switch {
	case v.Size < 0 || v.Size > maxBytes:
		return fail(v.Name, fmt.Sprintf("size %d is not between 0 and %d", v.Size, int64(maxBytes)))
	case v.Size > 0 && v.Dir != "":
		return fail(v.Dir, "has a size: only named volumes, which are the library's own, are bounded")
	case v.Name == "" && v.Dir == "":
		return fail("", "has neither a name nor a directory")
	case v.Name != "" && v.Dir != "":
		return fail(v.Name, "has both a name and a directory")
	case v.Dir != "" && v.Store != "":
		return fail(v.Dir, "is a directory of the host and no part of a store")
	case v.Dir != "":
		if why := pathFault(v.Dir); why != "" {
			return fail(v.Dir, why)
		}
		return nil
	case !validName(v.Name):
		return fail(v.Name, "a name has letters, digits, '.', '_' and '-', up to 128, and begins with a letter or digit")
	}
	store := v.store()
	if store == "" {
		return fail(v.Name, "there is no default store for a user without a home: name one")
	}
	if why := pathFault(store); why != "" {
		return fail(store, "store "+why)
	}
	return nil
}

func (v Volume) store() string {
	if v.Store != "" {
		return v.Store
	}
	return DefaultVolumeStore()
}

// home is the directory of a named volume in its store.
func (v Volume) home() string { return filepath.Join(v.store(), v.Name) }

// Path returns the directory of the host that the volume is.
func (v Volume) Path() string {
	if v.Dir != "" {
		return v.Dir
	}
	return filepath.Join(v.home(), "data")
}

// String returns the volume in a few words.
func (v Volume) String() string {
	s := "volume " + quote(v.Name)
	if v.Dir != "" {
		s = "volume " + quote(v.Dir)
	}
	if v.ReadOnly {
		s += " ro"
	}
	return s
}

// Volumes lists the named volumes of a store in the order of their names; "" is the default
// store. A store that does not exist has none.
func Volumes(store string) ([]Volume, error) {
	v := Volume{Store: store}
	entries, err := os.ReadDir(v.store())
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, &VolumeError{Op: "list", Path: v.store(), Err: cause(err)}
	}
	var list []Volume
	for _, e := range entries {
		v.Name = e.Name()
		if info, err := os.Lstat(v.Path()); e.IsDir() && err == nil && info.IsDir() && validName(v.Name) {
			list = append(list, v)
		}
	}
	return list, nil
}

// cause strips an error of the path that the caller says in its own way.
func cause(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}
