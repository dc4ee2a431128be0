package image

import (
	"io"
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Bounds for what has to be looked through to find an image.
const (
	maxIndexDepth = 4
	maxManifests  = 1000
)

// What BuildKit marks its attestations with: manifests without a root file system, beside the images in an index.
const attestationType = "vnd.docker.reference.type"

// document is what an index and a manifest may have. A document that could be taken for either is refused: what one program
// verified another would not see (CVE-2021-41190).
type document struct {
	SchemaVersion int             `json:"schemaVersion"`
	MediaType     string          `json:"mediaType"`
	ArtifactType  string          `json:"artifactType"`
	Manifests     []v1.Descriptor `json:"manifests"`
	Config        *v1.Descriptor  `json:"config"`
	Layers        []v1.Descriptor `json:"layers"`
	FSLayers      []any           `json:"fsLayers"`
}

// check holds a document against the media type of the descriptor that led to it.
func (d *document) check(mediaType string) error {
	if d.SchemaVersion != 2 {
		return malformed("schema version %d", d.SchemaVersion)
	}
	if d.MediaType != "" && d.MediaType != mediaType {
		return malformed("says it is of media type %s, what names it says %s", quote(d.MediaType), quote(mediaType))
	}
	if d.FSLayers != nil || d.Manifests != nil && (d.Layers != nil || d.Config != nil) {
		return malformed("is an index and a manifest at once")
	}
	if isIndex(mediaType) && d.Manifests == nil {
		return malformed("is of media type %s but no index", mediaType)
	}
	if isManifest(mediaType) && (d.Config == nil || d.Layers == nil) {
		return malformed("is of media type %s but no manifest", mediaType)
	}
	return nil
}

// readLayout reads an OCI image layout.
func (img *Image) readLayout() error {
	var mark v1.ImageLayout
	if err := img.document(v1.ImageLayoutFile, &mark); err != nil {
		return err
	}
	if !strings.HasPrefix(mark.Version, "1.") {
		return &Error{Op: "read", Name: v1.ImageLayoutFile, Err: unsupported("image layout version %s", quote(mark.Version))}
	}
	var top document
	err := img.document(v1.ImageIndexFile, &top)
	if err == nil {
		if err = top.check(v1.MediaTypeImageIndex); err != nil {
			err = &Error{Op: "read", Name: v1.ImageIndexFile, Err: err}
		}
	}
	if err != nil {
		return err
	}
	named, err := named(top.Manifests, img.options.ref)
	if err != nil {
		return &Error{Op: "choose", Name: img.name, Err: err}
	}
	c := choice{img: img}
	if err := c.consider(named, 0); err != nil {
		return err
	}
	if c.best == nil {
		return &Error{Op: "choose", Name: img.name, Err: c.none()}
	}
	return img.readManifest(*c.best)
}

// choice looks for the image that suits the platform best.
type choice struct {
	img   *Image
	best  *v1.Descriptor
	score int
	seen  int
	found []string // platforms there are images for
}

func (c *choice) none() error {
	if len(c.found) == 0 {
		return missing("holds no image")
	}
	slices.Sort(c.found)
	return missing("no image for %s, only for %s", c.img.options.platform, strings.Join(slices.Compact(c.found), ", "))
}

// consider goes through the manifests of an index, and those of indexes in it. Of several that suit as well, the first is
// taken, as the specification wants.
func (c *choice) consider(manifests []v1.Descriptor, depth int) error {
	for _, d := range manifests {
		if c.seen++; c.seen > maxManifests {
			return &Error{Op: "read", Name: c.img.name, Err: tooMuch("more than %d manifests", maxManifests)}
		}
		switch {
		case !isImage(d):
		case isIndex(d.MediaType):
			if depth == maxIndexDepth {
				return &Error{Op: "read", Name: d.Digest.String(), Err: tooMuch("indexes more than %d deep in one another", depth)}
			}
			doc, err := c.img.verified(d)
			if err == nil {
				err = c.consider(doc.Manifests, depth+1)
			}
			if err != nil {
				return err
			}
		case isManifest(d.MediaType):
			if err := c.weigh(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// weigh compares an image with the best so far. Where the index does not say what it is for, its configuration does.
func (c *choice) weigh(d v1.Descriptor) error {
	var p Platform
	if d.Platform != nil {
		p = platformOf(d.Platform)
	} else {
		doc, err := c.img.verified(d)
		if err != nil {
			return err
		}
		if !isConfig(doc.Config.MediaType) {
			return nil // an artifact of another kind
		}
		var config v1.Image
		if err := c.img.blobDocument(*doc.Config, &config); err != nil {
			return err
		}
		p = platformOf(&config.Platform)
	}
	c.found = append(c.found, quote(p.String()))
	if s := c.img.options.platform.runs(p); s > c.score {
		c.best, c.score = &d, s
	}
	return nil
}

// isImage leaves out what an index may hold beside images. Some programs, go-containerregistry among them, say of images that they are
// artifacts of the type of their configuration.
func isImage(d v1.Descriptor) bool {
	return d.Annotations[attestationType] == "" && (d.ArtifactType == "" || isConfig(d.ArtifactType)) &&
		(d.Platform == nil || d.Platform.OS != "unknown")
}

// readManifest reads an image by the descriptor of its manifest.
func (img *Image) readManifest(d v1.Descriptor) error {
	doc, err := img.verified(d)
	if err != nil {
		return err
	}
	fail := func(err error) error { return &Error{Op: "read", Name: d.Digest.String(), Err: err} }
	if !isConfig(doc.Config.MediaType) {
		return fail(unsupported("an artifact with a configuration of media type %s, no image", quote(doc.Config.MediaType)))
	}
	var config v1.Image
	if err := img.blobDocument(*doc.Config, &config); err != nil {
		return err
	}
	var layers []Layer
	for _, l := range doc.Layers {
		c, err := layerCompression(l.MediaType)
		if err != nil {
			return fail(err)
		}
		file, err := blobFile(l)
		if err != nil {
			return fail(err)
		}
		layers = append(layers, Layer{Digest: l.Digest.String(), MediaType: l.MediaType, Size: l.Size, file: file, compression: c})
	}
	img.digest = d.Digest
	if err := img.settle(config, layers); err != nil {
		return fail(err)
	}
	return nil
}

// verified reads an index or manifest.
func (img *Image) verified(d v1.Descriptor) (*document, error) {
	var doc document
	if err := img.blobDocument(d, &doc); err != nil {
		return nil, err
	}
	if err := doc.check(d.MediaType); err != nil {
		return nil, &Error{Op: "read", Name: d.Digest.String(), Err: err}
	}
	return &doc, nil
}

// document reads a file of the source that nothing vouches for.
func (img *Image) document(name string, into any) error {
	data, err := img.slurp(name, maxDocument)
	if err == nil {
		err = decode(data, into)
	}
	if err != nil {
		return &Error{Op: "read", Name: name, Err: err}
	}
	return nil
}

// blobDocument reads a document by descriptor and verifies its size and digest.
func (img *Image) blobDocument(d v1.Descriptor, into any) error {
	err := func() error {
		file, err := blobFile(d)
		if err != nil {
			return err
		}
		if d.Size > maxDocument {
			return tooMuch("a document of %d bytes, more than %d", d.Size, maxDocument)
		}
		data, err := img.slurp(file, maxDocument)
		if err != nil {
			return err
		}
		if int64(len(data)) != d.Size {
			return malformed("has %d bytes, not %d", len(data), d.Size)
		}
		if found := d.Digest.Algorithm().FromBytes(data); found != d.Digest {
			return malformed("its digest is %s", found)
		}
		return decode(data, into)
	}()
	if err != nil {
		return &Error{Op: "verify", Name: d.Digest.String(), Err: err}
	}
	return nil
}

func (img *Image) slurp(name string, most int64) ([]byte, error) {
	b, err := img.source.open(name)
	if err != nil {
		return nil, err
	}
	defer b.Close()
	if b.size > most {
		return nil, tooMuch("has %d bytes, more than %d", b.size, most)
	}
	data, err := io.ReadAll(b.reader())
	if err == nil && int64(len(data)) != b.size {
		err = io.ErrUnexpectedEOF
	}
	return data, err
}

// blobFile names the file of a descriptor in a layout. The digest is checked first: it becomes a path.
func blobFile(d v1.Descriptor) (string, error) {
	if err := d.Digest.Validate(); err != nil {
		return "", malformed("digest %s: %v", quote(d.Digest.String()), err)
	}
	if d.Size < 0 {
		return "", malformed("a size of %d", d.Size)
	}
	return strings.Join([]string{v1.ImageBlobsDir, d.Digest.Algorithm().String(), d.Digest.Encoded()}, "/"), nil
}
