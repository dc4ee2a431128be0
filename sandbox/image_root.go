package sandbox

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
)

// imageRoot is the image of WithImage. It is shared by a spec and its clones, so that all of them are of one image.
//
// What reads images is reached through open alone, and so through WithImage alone: the linker leaves it, and the decompressors it takes, out
// of programs that do not use the option.
type imageRoot struct {
	path string
	open func() (imageSource, error)

	mu    sync.Mutex
	found *imageFacts // nil until it has been unpacked once
}

// imageSource is an image that was opened.
type imageSource interface {
	facts() imageFacts
	// unpack returns the layers and the user that the image wants.
	unpack(context.Context) (u *image.Unpacked, user image.User, userErr, err error)
	Close() error
}

// imageFacts is what an image says of itself.
type imageFacts struct {
	digest string
	config image.Config
	user   image.User // that config.User stands for, or
	noUser error      // why it stands for nobody
	store  rootfs.Store
	keys   []string // of the layers
	notes  []string
}

var (
	errNotStored    = errors.New("not in the store")
	errImageChanged = errors.New("is another image than the one the sandbox was made of")
)

// heldImage is an image in use.
type heldImage struct {
	imageFacts
	dirs    []string
	release func()
}

// hold unpacks the image if its layers are not in the store, and holds them.
func (r *imageRoot) hold(ctx context.Context) (*heldImage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.found != nil {
		if h, err := r.found.hold(ctx); err == nil {
			return h, nil
		}
	}
	src, err := r.open()
	if err != nil {
		return nil, err
	}
	defer src.Close()
	f := src.facts()
	if r.found != nil && r.found.digest != f.digest {
		return nil, &image.Error{Op: "open", Name: r.path, Err: errImageChanged}
	}
	if n := len(f.keys); n > rootfs.MaxLayers {
		why := fmt.Sprintf("has %d layers, more than the %d a root can have", n, rootfs.MaxLayers)
		return nil, &image.Error{Op: "open", Name: r.path, Err: &mistake{why: why, err: ErrInvalid}}
	}
	u, user, noUser, err := src.unpack(ctx)
	if err != nil {
		return nil, err
	}
	f.user, f.noUser, f.notes = user, noUser, u.Notes
	r.found = &f
	return &heldImage{imageFacts: f, dirs: u.Dirs, release: u.Release}, nil
}

func noFill(*os.File) (rootfs.Filled, error) { return rootfs.Filled{}, errNotStored }

// hold holds the layers of an image that was unpacked before, without looking at the image again.
func (f *imageFacts) hold(ctx context.Context) (*heldImage, error) {
	var held []*rootfs.HeldLayer
	h := &heldImage{imageFacts: *f, release: func() {
		for _, l := range held {
			l.Release()
		}
	}}
	for _, key := range f.keys {
		l, err := f.store.Hold(ctx, key, noFill)
		if err != nil {
			h.release()
			return nil, err
		}
		held = append(held, l)
		h.dirs = append(h.dirs, l.Dir)
	}
	return h, nil
}

// command returns the image's command with arguments in place of its own, if there are any.
func (f *imageFacts) command(args []string) []string {
	if len(args) == 0 {
		args = f.config.Cmd
	}
	return slices.Concat(f.config.Entrypoint, args)
}

// environment lays what the caller asked for over what the image has.
func environment(s *spec, of []string) []string {
	byName := map[string]string{}
	for _, v := range of {
		name, _, _ := strings.Cut(v, "=")
		byName[name] = v // the later of two counts
	}
	for _, v := range s.env {
		name, _, _ := strings.Cut(v, "=")
		if _, asked := s.values["WithEnv "+name]; asked || byName[name] == "" {
			byName[name] = v
		}
	}
	env := make([]string, 0, len(byName))
	for _, v := range byName {
		env = append(env, v)
	}
	slices.Sort(env)
	return env
}

// Entrypoint prepares the command of the sandbox's image, see [WithImage]: its entrypoint with args, which without args are those the image has
// for it. Of an image that has no entrypoint args are the command itself, and of one with neither there is none: Start is an ErrInvalid
// then, as it is without an image.
func (sb *Sandbox) Entrypoint(args ...string) *Cmd {
	sb.mu.Lock()
	defer sb.mu.Unlock()
	c := &Cmd{sandbox: sb}
	if r := sb.spec.image; r != nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if c.Args = r.found.command(args); len(c.Args) > 0 {
			c.Path = c.Args[0]
		}
	}
	return c
}
