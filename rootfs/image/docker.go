package image

import (
	"regexp"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// dockerManifestFile lists the images in an archive of docker save.
const dockerManifestFile = "manifest.json"

// dockerImage is one of them. Its names are files of the archive.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// readDocker reads an archive that docker save wrote before version 25, or another program in its manner.
func (img *Image) readDocker() error {
	var all []dockerImage
	if err := img.document(dockerManifestFile, &all); err != nil {
		return err
	}
	one, err := pickDocker(all, img.options.ref)
	if err != nil {
		return &Error{Op: "choose", Name: img.name, Err: err}
	}
	config, sum, err := img.dockerConfig(one.Config)
	if err != nil {
		return &Error{Op: "verify", Name: one.Config, Err: err}
	}
	var layers []Layer
	for _, name := range one.Layers {
		b, err := img.source.open(name)
		if err != nil {
			return &Error{Op: "read", Name: name, Err: err}
		}
		layers = append(layers, Layer{Size: b.size, file: name, compression: undeclared})
		_ = b.Close()
	}
	img.digest = sum
	if err := img.settle(config, layers); err != nil {
		return &Error{Op: "read", Name: one.Config, Err: err}
	}
	return nil
}

// hashName is the name of a configuration that is named by its digest.
var hashName = regexp.MustCompile(`^(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?$`)

// dockerConfig reads a configuration, and verifies its digest if its name is one.
func (img *Image) dockerConfig(name string) (config v1.Image, sum digest.Digest, err error) {
	data, err := img.slurp(name, maxDocument)
	if err != nil {
		return config, "", err
	}
	sum = digest.FromBytes(data)
	if m := hashName.FindStringSubmatch(name); m != nil && m[1] != sum.Encoded() {
		return config, "", malformed("its digest is %s", sum)
	}
	return config, sum, decode(data, &config)
}

func pickDocker(all []dockerImage, ref string) (dockerImage, error) {
	var found []dockerImage
	var names []string
	for _, d := range all {
		names = append(names, d.RepoTags...)
		has := func(tag string) bool { return sameRef(tag, ref) }
		if ref == "" || slices.ContainsFunc(d.RepoTags, has) || sameConfig(d.Config, ref) {
			found = append(found, d)
		}
	}
	for i := range names {
		names[i] = quote(names[i])
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) == 0 && ref == "":
		return dockerImage{}, missing("holds no image")
	case len(found) == 0:
		return dockerImage{}, missing("no image %s in it, only %s", quote(ref), strings.Join(names, ", "))
	}
	return dockerImage{}, malformed("holds several images, %s: say which", strings.Join(names, ", "))
}

func sameConfig(name, ref string) bool {
	m := hashName.FindStringSubmatch(name)
	return m != nil && ref == "sha256:"+m[1]
}
