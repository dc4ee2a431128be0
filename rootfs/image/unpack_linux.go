package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/internal/tree"
)

// Unpack puts the image's layers into the store, verified, where it does not have them yet, and holds them until Release. It
// waits where another process unpacks the same layer. Whiteouts become those of overlayfs as mounted with
// userxattr, which is what rootfs.Stack and sandbox.WithLayers expect.
//
// What is stored is what the image has but for this: device nodes are empty files; attributes are those of the name space user alone, without
// overlayfs' own; owners are the image's where the caller is root, and the caller otherwise. Setuid bits stay, and have no
// effect in a sandbox. A layer that would write outside itself, through a link or over its limits is refused.
//
// An error is an [*Error] or [*rootfs.StoreError], or that of ctx; then nothing is held, and layers that were complete stay in the store.
func (img *Image) Unpack(ctx context.Context) (_ *Unpacked, err error) {
	u := &Unpacked{}
	var lower tree.Stack
	defer func() {
		for _, fd := range lower {
			_ = unix.Close(fd)
		}
		if err != nil {
			u.Release()
		}
	}()
	b := newBudget(img.options.limits)
	for i, l := range img.layers {
		p := Progress{Layer: i, Layers: len(img.layers), Digest: l.Digest, Size: l.Size, Stored: true}
		h, err := img.options.store.Hold(ctx, l.ChainID, func(dir *os.File) (rootfs.Filled, error) {
			p.Stored = false
			return img.unpackLayer(ctx, i, dir, lower, b, p)
		})
		if err != nil {
			return nil, unpackError(i, err)
		}
		u.held = append(u.held, h)
		u.Dirs = append(u.Dirs, h.Dir)
		u.note(h.Notes...)
		if p.Stored {
			if err := b.stored(h); err != nil {
				return nil, unpackError(i, err)
			}
		}
		fd, err := unix.Open(h.Dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, &rootfs.StoreError{Op: "open", Path: h.Dir, Err: err}
		}
		lower = append(lower, fd)
		p.Read, p.Done = p.Size, true
		img.tell(p)
	}
	return u, nil
}

// unpackError says which layer, where the error does not.
func unpackError(i int, err error) error {
	var e *Error
	var s *rootfs.StoreError
	if errors.As(err, &e) || errors.As(err, &s) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return &Error{Op: "unpack", Name: "layer " + strconv.Itoa(i), Err: err}
}

// stored takes a layer that need not be unpacked from what there may be: limits do not depend on what the store has.
func (b *budget) stored(h *rootfs.HeldLayer) error {
	b.bytes -= h.Bytes
	b.entries -= h.Entries
	switch {
	case b.bytes < 0:
		return tooMuch("more than %d bytes in files", b.of.Bytes)
	case b.entries < 0:
		return tooMuch("more than %d files and directories", b.of.Entries)
	}
	return nil
}

func (img *Image) tell(p Progress) {
	if img.options.progress != nil {
		img.options.progress(p)
	}
}

// unpackLayer fills the directory of one layer.
func (img *Image) unpackLayer(ctx context.Context, i int, dir *os.File, lower tree.Stack, b *budget, p Progress) (rootfs.Filled, error) {
	img.tell(p)
	layer, err := img.OpenLayer(i)
	if err != nil {
		return rootfs.Filled{}, err
	}
	defer layer.Close()
	s := layer.(*stream)
	s.limits.Bytes = b.raw
	defer func() { b.raw -= s.n }()
	r := &progressReader{Reader: layer, stream: s, img: img, p: p}
	w := newLayerWriter(int(dir.Fd()), lower, b)
	if err := w.write(ctx, r); err != nil {
		return rootfs.Filled{}, err
	}
	// The archive has ended, the layer need not have; only its very end says whether it is the one that was promised.
	if _, err := io.Copy(io.Discard, ctxReader{ctx, r}); err != nil {
		return rootfs.Filled{}, err
	}
	return rootfs.Filled{Bytes: w.stat.bytes, Entries: w.stat.entries, Notes: w.stat.notes(w.mayOwn)}, nil
}

// ctxReader ends with its context.
type ctxReader struct {
	ctx context.Context
	io.Reader
}

func (r ctxReader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.Reader.Read(p)
}

// progressStep is how many bytes are read between two reports.
const progressStep = 1 << 20

type progressReader struct {
	io.Reader
	stream *stream
	img    *Image
	p      Progress
}

func (r *progressReader) Read(b []byte) (int, error) {
	n, err := r.Reader.Read(b)
	if r.stream.in.n-r.p.Read >= progressStep {
		r.p.Read = r.stream.in.n
		r.img.tell(r.p)
	}
	return n, err
}

// notes say what was left out.
func (t *tally) notes(mayOwn bool) []string {
	var notes []string
	if !mayOwn {
		notes = append(notes, "an ordinary user cannot give files away: all files of the image belong to the caller, which is the job")
	}
	for _, c := range []struct {
		n    int64
		what string
	}{
		{t.devices, "device nodes of the image are empty files"},
		{t.owners, "files of the image belong to the caller: their owners do not exist here"},
		{t.attrs, "attributes of files are left out: the store's file system does not take them"},
	} {
		if c.n > 0 {
			notes = append(notes, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	return notes
}
