package rootfs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Store is a directory of the host that keeps layers which were unpacked, each once, for all sandboxes and
// all programs of one user. A layer is known by a key that stands for its content and for the layers below it, the chain ID of
// the OCI image specification. A Store is a value: making one does nothing.
//
// It may be used by any number of goroutines and processes at once. A process that dies while it unpacks leaves a temporary
// folder that the next one removes; a layer appears under its key when it is complete and on disk.
//
// The directory is closed to all other users (mode 0700), for layers may hold setuid programs, which are none of their
// business (CVE-2021-41103). One that belongs to somebody else, or is open to others, is refused.
type Store struct {
	// Dir is the directory, absolute; "" is [DefaultStore]. It is made when it is first used.
	Dir string
}

// StoredLayer is a layer in a [Store].
type StoredLayer struct {
	Key     string    // "sha256:…"
	Dir     string    // the layer's directory, as for [Layer]; good as long as the layer is held
	Bytes   int64     // in regular files, holes counted in full
	Entries int64     // files and directories
	Notes   []string  // what is stored in another way than it was meant
	Made    time.Time // when it was unpacked
	InUse   bool      // somebody holds it at this moment; see [Store.Layers]
}

// Errors of a store by which a caller decides.
var (
	// ErrLayerInUse is the error of removing a layer that a sandbox has.
	ErrLayerInUse = errors.New("layer is in use")
	// ErrStoreOpen is the error of a store that others than the caller could change or look into.
	ErrStoreOpen = errors.New("store is not the caller's alone")
)

// StoreError says what was done to a store and did not work.
type StoreError struct {
	Op   string // the system call or step
	Path string // what it was done to
	Err  error
}

func (e *StoreError) Error() string { return e.Op + " " + quote(e.Path) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *StoreError) Unwrap() error { return e.Err }

// DefaultStore returns where layers are kept if no store is named: /var/lib/belljar/layers for root; for others
// belljar/layers in XDG_DATA_HOME, which is ~/.local/share if it is not set. It is "" for a user without a home.
func DefaultStore() string { return dataDir("layers") }

// dataDir returns the directory for a kind of data that is to last (XDG Base Directory Specification).
func dataDir(kind string) string {
	if os.Geteuid() == 0 {
		return filepath.Join("/var/lib/belljar", kind)
	}
	if dir := os.Getenv("XDG_DATA_HOME"); filepath.IsAbs(dir) {
		return filepath.Join(dir, "belljar", kind)
	}
	home, err := os.UserHomeDir()
	if err != nil || !filepath.IsAbs(home) {
		return ""
	}
	return filepath.Join(home, ".local", "share", "belljar", kind)
}

// dir returns the directory with the default filled in.
func (s Store) dir() (string, error) {
	dir := s.Dir
	if dir == "" {
		if dir = DefaultStore(); dir == "" {
			return "", &Error{Index: -1, Op: "store", Why: "there is no default store for a user without a home: name one"}
		}
	}
	if why := pathFault(dir); why != "" {
		return "", &Error{Index: -1, Op: "store", Path: dir, Why: why}
	}
	return dir, nil
}

// isKey lets through no more than two forms, so that a key is a good file name.
func isKey(key string) bool {
	name, hex, _ := strings.Cut(key, ":")
	return (name == "sha256" && len(hex) == 64 || name == "sha512" && len(hex) == 128) && strings.Trim(hex, "0123456789abcdef") == ""
}

// checkKey reports a key that is no digest.
func checkKey(key string) error {
	if !isKey(key) {
		return &Error{Index: -1, Op: "layer", Path: key, Why: "the key is no digest, sha256:… or sha512:…"}
	}
	return nil
}

// keyName and keyOf turn a key into a file name and back; a colon would mean something in mount options.
func keyName(key string) string { return strings.Replace(key, ":", "-", 1) }

func keyOf(name string) (string, bool) {
	key := strings.Replace(name, "-", ":", 1)
	return key, isKey(key)
}
