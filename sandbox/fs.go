package sandbox

import (
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"syscall"
)

// sandboxFS is the files inside, read-only.
type sandboxFS struct{ sb *Sandbox }

// Open opens a regular file or a directory.
func (f sandboxFS) Open(name string) (fs.File, error) {
	fail := func(err error) (fs.File, error) { return nil, &fs.PathError{Op: "open", Path: name, Err: err} }
	if !fs.ValidPath(name) {
		return fail(fs.ErrInvalid)
	}
	e, err := f.sb.standing("open")
	if err != nil {
		return fail(err)
	}
	file, err := e.readFile(path.Join("/", name))
	if err != nil {
		return fail(f.sb.orClosed("open", e, err))
	}
	return file, nil
}

// ReadFile reads a whole file, of at most 64 MiB like captured output; a larger one is EFBIG. A job can make a file look as large as it likes at no
// cost (a sparse one), and fs.ReadFile by itself would ask for that much memory at once.
func (f sandboxFS) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	fail := func(err error) ([]byte, error) { return nil, &fs.PathError{Op: "read", Path: name, Err: err} }
	if info, err := file.Stat(); err != nil {
		return fail(err)
	} else if info.Size() > captureLimit {
		return fail(syscall.EFBIG)
	}
	b, err := io.ReadAll(io.LimitReader(file, captureLimit+1))
	var where *fs.PathError
	switch {
	case errors.As(err, &where):
		return fail(where.Err)
	case err != nil:
		return fail(err)
	case len(b) > captureLimit:
		return fail(syscall.EFBIG)
	}
	return b, nil
}

// insideFault says what is wrong with a path inside, or "".
func insideFault(p string) string {
	switch {
	case p == "":
		return "is empty"
	case !path.IsAbs(p):
		return "is not absolute"
	case strings.IndexByte(p, 0) >= 0:
		return "has a NUL byte"
	case strings.HasSuffix(p, "/"):
		return "is a directory's"
	}
	return ""
}
