package image

import (
	"os"
	"path"
	"strings"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/identity"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/belljar-go/belljar/rootfs"
)

// Image is an opened image. Its documents have been read and verified; its layers are read
// by OpenLayer. Its methods may be called by several goroutines, but for Close.
type Image struct {
	source  source
	name    string
	digest  digest.Digest
	config  v1.Image
	layers  []Layer
	options options
}

// Layer is one layer of an image, the lowest first.
type Layer struct {
	Digest      string // of the layer as it lies in the image; "" if the image does not say
	DiffID      string // digest of the layer uncompressed
	ChainID     string // stands for this layer on top of all below it
	MediaType   string // "" if the image does not say
	Size        int64  // bytes as it lies in the image
	file        string
	compression compression
}

// Config is what an image says about how it is run.
type Config struct {
	Entrypoint []string // the program and its first arguments
	Cmd        []string // the arguments that follow if the caller gives none; the program, if there is no Entrypoint
	Env        []string // "name=value"
	User       string   // "user", "user:group", by name or number; "" if the image does not say
	WorkingDir string   // absolute and clean; "" if the image does not say
	StopSignal string
	Labels     map[string]string
	Platform   Platform
}

// Open opens an image: an OCI image layout, as a folder or a tar archive, or a tar archive
// in the form of `docker save`, old or new. Where there is nothing of that name it may end with a colon
// and a ref, see [WithRef]. It reads and verifies the documents and chooses
// the image for this machine's platform, unless options say otherwise. The caller closes
// what it returns.
//
// An error is an [*Error].
func Open(name string, opts ...Option) (*Image, error) {
	o := fold(opts)
	if o.ref == "" {
		name, o.ref = splitRef(name)
	}
	src, err := openSource(name)
	if err != nil {
		return nil, &Error{Op: "open", Name: name, Err: bare(err)}
	}
	img := &Image{source: src, name: name, options: o}
	if err := img.read(); err != nil {
		_ = src.Close()
		return nil, err
	}
	return img, nil
}

// splitRef takes a ref off a name that stands for nothing with it.
func splitRef(name string) (path, ref string) {
	if _, err := os.Lstat(name); err == nil {
		return name, ""
	}
	for i := range len(name) {
		if i > 0 && name[i] == ':' && i < len(name)-1 {
			if _, err := os.Lstat(name[:i]); err == nil {
				return name[:i], name[i+1:]
			}
		}
	}
	return name, ""
}

// read reads the documents, whichever form they have. An archive of today's docker save has both; the layout says more.
func (img *Image) read() error {
	switch {
	case img.source.has(v1.ImageLayoutFile):
		return img.readLayout()
	case img.source.has(dockerManifestFile):
		return img.readDocker()
	}
	return &Error{Op: "open", Name: img.name, Err: unsupported(
		"neither an OCI image layout (no %s in it) nor in the form of docker save (no %s)", v1.ImageLayoutFile, dockerManifestFile)}
}

// Close gives back the folder or file. Layers that were opened stay readable from a folder only.
func (img *Image) Close() error { return img.source.Close() }

// Store returns the store that Unpack puts layers into.
func (img *Image) Store() rootfs.Store { return img.options.store }

// Digest returns the digest of the image's manifest, such as "sha256:…"; in the old form of
// docker save, which has none, that of its configuration.
func (img *Image) Digest() string { return img.digest.String() }

// Layers returns the layers, the lowest first.
func (img *Image) Layers() []Layer { return append([]Layer(nil), img.layers...) }

// Config returns how the image wants to be run.
func (img *Image) Config() Config {
	c := img.config.Config
	out := Config{
		Entrypoint: append([]string(nil), c.Entrypoint...),
		Cmd:        append([]string(nil), c.Cmd...),
		Env:        append([]string(nil), c.Env...),
		User:       c.User,
		WorkingDir: c.WorkingDir,
		StopSignal: c.StopSignal,
		Platform:   platformOf(&img.config.Platform),
	}
	if out.WorkingDir != "" {
		out.WorkingDir = path.Clean("/" + out.WorkingDir)
	}
	if len(c.Labels) > 0 {
		out.Labels = make(map[string]string, len(c.Labels))
		for k, v := range c.Labels {
			out.Labels[k] = v
		}
	}
	return out
}

// settle takes over a configuration and the layers found for it.
func (img *Image) settle(config v1.Image, layers []Layer) error {
	if config.RootFS.Type != "layers" {
		return malformed("root file system of type %s", quote(config.RootFS.Type))
	}
	ids := config.RootFS.DiffIDs
	if len(ids) != len(layers) {
		return malformed("%d layers, but %d diffIDs", len(layers), len(ids))
	}
	if len(layers) == 0 {
		return malformed("no layers")
	}
	if len(layers) > img.options.limits.Layers {
		return tooMuch("%d layers, more than %d", len(layers), img.options.limits.Layers)
	}
	for _, id := range ids {
		if err := id.Validate(); err != nil {
			return malformed("diffID %s: %v", quote(id.String()), err)
		}
	}
	want, has := img.options.platform, platformOf(&config.Platform)
	if want.runs(has) == 0 {
		return missing("is for %s, not for %s", quote(has.String()), want)
	}
	for i, chain := range identity.ChainIDs(append([]digest.Digest(nil), ids...)) {
		layers[i].DiffID, layers[i].ChainID = ids[i].String(), chain.String()
	}
	img.config, img.layers = config, layers
	return configFault(config.Config)
}

// configFault finds what no process could be started with.
func configFault(c v1.ImageConfig) error {
	for _, e := range c.Env {
		if i := strings.IndexByte(e, '='); i < 1 || strings.ContainsRune(e, 0) {
			return malformed("environment %s", quote(e))
		}
	}
	words := append(append([]string{c.User, c.WorkingDir}, c.Entrypoint...), c.Cmd...)
	for _, w := range words {
		if strings.ContainsRune(w, 0) {
			return malformed("a NUL byte in %s", quote(w))
		}
	}
	return nil
}
