package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"golang.org/x/sys/unix"
)

var errNoCache = errors.New("there is no folder for caches: name one with -cache")

func storeIn(cache string) rootfs.Store { return rootfs.Store{Dir: filepath.Join(cache, "layers")} }

// pull puts an image into the cache's layout, of an index the one for this machine. It returns the layout's folder and the image's
// digest. What the layout has is not fetched again.
func pull(ctx context.Context, cache string, ref name.Reference, opts ...remote.Option) (dir, digest string, err error) {
	if cache == "" {
		return "", "", errNoCache
	}
	if cache, err = filepath.Abs(cache); err != nil {
		return "", "", err
	}
	host := image.Host()
	platform := remote.WithPlatform(v1.Platform{OS: host.OS, Architecture: host.Architecture})
	img, err := remote.Image(ref, append(opts, remote.WithContext(ctx), platform)...)
	if err != nil {
		return "", "", err
	}
	sum, err := img.Digest()
	if err != nil {
		return "", "", err
	}
	dir = filepath.Join(cache, "layout")
	unlock, err := lock(cache)
	if err != nil {
		return "", "", err
	}
	defer unlock()
	path, err := open(dir)
	if err != nil {
		return "", "", err
	}
	if _, err := path.Image(sum); err == nil {
		return dir, sum.String(), nil // the index has it, which is written last
	}
	return dir, sum.String(), path.AppendImage(img)
}

// open opens the layout, and makes it if there is none.
func open(dir string) (layout.Path, error) {
	path, err := layout.FromPath(dir)
	if errors.Is(err, os.ErrNotExist) {
		return layout.Write(dir, empty.Index)
	}
	return path, err
}

// lock lets one program at a time change the cache's layout: its index is rewritten as a whole.
func lock(cache string) (unlock func(), err error) {
	if err := os.MkdirAll(cache, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(cache, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		_ = f.Close()
		return nil, err
	}
	return func() { _ = f.Close() }, nil
}
