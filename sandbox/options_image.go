package sandbox

import (
	"slices"

	"github.com/belljar-go/belljar/rootfs/image"
)

// WithImage makes a container image the root, read-only, with a /proc and a /dev over its own: an OCI image layout, as a folder or a tar archive,
// or an archive of docker save. Where it holds several images, a colon and a name after the path say which, as in
// "images.tar:debian:12", or [image.WithRef] does. New verifies the image and unpacks what the store does not have yet, which may take as long as
// copying it does; see [image.Image.Unpack]. The store's layers cannot be removed until the sandbox is closed. Nothing of the image is executed for that.
//
// What the image says of how it wants to be run holds where no option says otherwise: its environment, below that of WithEnv; its working directory, see
// WithDir; its user, see WithCredential; [Sandbox.Entrypoint] is its command. A user that has a name is looked up in the image's
// own /etc/passwd and /etc/group. Root is not taken from an image, it has to be asked for: such an image runs as user 1000, and the report
// has a note of it, unless WithCredential(0, 0) is given.
//
// Files of an image belong inside to whom they belong in the image if the caller is root. An ordinary user cannot give files away, and the kernel maps no ids on mounts
// for one: all files of the image are the job's own then, whatever user that is, with newuidmap too, and the report has a note of it.
//
// Clones, restarts and pools use the image that was first found at the path. Other options are those of [image.Open]; given twice, the
// option has to be the same, and without such.
func WithImage(path string, opts ...image.Option) Option {
	opts = slices.Clone(opts)
	type given struct {
		path string
		opts []image.Option
	}
	o := option{label: "WithImage", text: path, key: "WithImage", value: given{path, opts}}
	o.set = func(s *spec, _ bool) error {
		abs, err := hostPath(o, path)
		if err != nil {
			return err
		}
		if s.image == nil { // given twice it is the same
			s.image = &imageRoot{path: abs, open: func() (imageSource, error) { return readImage(abs, opts) }}
		}
		return nil
	}
	return o
}
