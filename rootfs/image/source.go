package image

import (
	"archive/tar"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// source is where an image lies: files by slash-separated names.
type source interface {
	// open returns a regular file. It is the caller's to close.
	open(name string) (*blob, error)
	has(name string) bool
	Close() error
}

// blob is an open file of a source.
type blob struct {
	io.ReaderAt
	size   int64
	closer io.Closer // nil if the source owns the file
}

// reader reads the blob from its beginning.
func (b *blob) reader() io.Reader { return io.NewSectionReader(b.ReaderAt, 0, b.size) }

// Close gives the file back.
func (b *blob) Close() error {
	if b.closer == nil {
		return nil
	}
	return b.closer.Close()
}

// openSource opens a folder or a tar archive.
func openSource(name string) (source, error) {
	// A FIFO in its place must not block.
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
	case info.IsDir():
		_ = f.Close()
		root, err := os.OpenRoot(name)
		if err != nil {
			return nil, err
		}
		return &folder{root}, nil
	case !info.Mode().IsRegular():
		err = unsupported("is neither a folder nor a regular file")
	default:
		var a *archive
		if a, err = readArchive(f, info.Size()); err == nil {
			return a, nil
		}
	}
	_ = f.Close()
	return nil, err
}

// folder is a source that is a directory. Links in it are followed as long as they stay in
// it: it may come from anybody, and what it leads to ends up in error messages.
type folder struct {
	root *os.Root
}

func (d *folder) open(name string) (*blob, error) {
	f, err := d.root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, bare(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = malformed("is no regular file")
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &blob{f, info.Size(), f}, nil
}

func (d *folder) has(name string) bool {
	_, err := d.root.Stat(name)
	return err == nil
}

func (d *folder) Close() error { return d.root.Close() }

// bare takes away the path that the caller adds itself.
func bare(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// archive is a source that is a tar archive. Where each file begins is read once; contents
// are read in place.
type archive struct {
	file  *os.File
	files map[string]section
	links map[string]string
}

type section struct{ offset, size int64 }

// What an archive of an image may hold. Real ones have some hundred entries.
const (
	maxArchiveEntries = 100_000
	maxArchiveLinks   = 16 // from one name to the next
)

func readArchive(f *os.File, size int64) (*archive, error) {
	if why := compressedArchive(f); why != "" {
		return nil, unsupported("is compressed with %s: uncompress it first", why)
	}
	a := &archive{f, map[string]section{}, map[string]string{}}
	r := tar.NewReader(f)
	for n := 0; ; n++ {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, malformed("is no tar archive: %v", err)
		}
		if n == maxArchiveEntries {
			return nil, tooMuch("has more than %d entries", n)
		}
		if err := a.add(h, size); err != nil {
			return nil, err
		}
	}
	if len(a.files) == 0 {
		return nil, malformed("is no tar archive, or one without files")
	}
	return a, nil
}

// add notes an entry. The tar reader reads headers without buffering, and nothing behind them, so the file stands where
// the content begins.
func (a *archive) add(h *tar.Header, size int64) error {
	name := path.Clean("/" + h.Name)[1:]
	_, file := a.files[name]
	_, link := a.links[name]
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeSymlink, tar.TypeLink:
		if file || link {
			return malformed("the archive has two entries %s", quote(name))
		}
	}
	switch h.Typeflag {
	case tar.TypeReg:
		at, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		if h.Size > size-at {
			return malformed("the archive ends within %s", quote(name))
		}
		if sparse(h) {
			return unsupported("the archive has a sparse entry %s", quote(name))
		}
		a.files[name] = section{at, h.Size}
	case tar.TypeSymlink: // docker save and podman have them where two layers are the same
		a.links[name] = path.Join(path.Dir("/"+name), h.Linkname)[1:]
	case tar.TypeLink:
		a.links[name] = path.Clean("/" + h.Linkname)[1:]
	}
	return nil
}

// sparse reports whether the content of an entry is not simply what follows its header.
func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

func (a *archive) find(name string) (section, error) {
	for range maxArchiveLinks {
		if s, ok := a.files[name]; ok {
			return s, nil
		}
		to, ok := a.links[name]
		if !ok {
			return section{}, missing("is not in the archive")
		}
		name = to
	}
	return section{}, malformed("is a link that leads to links without end")
}

func (a *archive) open(name string) (*blob, error) {
	s, err := a.find(path.Clean("/" + name)[1:])
	if err != nil {
		return nil, err
	}
	return &blob{io.NewSectionReader(a.file, s.offset, s.size), s.size, nil}, nil
}

func (a *archive) has(name string) bool {
	_, err := a.find(path.Clean("/" + name)[1:])
	return err == nil
}

func (a *archive) Close() error { return a.file.Close() }

// compressedArchive tells what a file is compressed with, by its first bytes.
func compressedArchive(f *os.File) string {
	head := make([]byte, 6)
	n, _ := f.ReadAt(head, 0)
	switch magic(head[:n]) {
	case gzipped:
		return "gzip"
	case zstandard:
		return "zstd"
	}
	if string(head[:n]) == "\xfd7zXZ\x00" {
		return "xz"
	}
	return ""
}
