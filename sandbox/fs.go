package sandbox

import (
	"io/fs"
	"path"
	"strings"
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
		return fail(err)
	}
	return file, nil
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
