package image

import (
	"slices"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// containerdName is where containerd, and docker since version 25, put the whole name; the specification's own annotation
// then has the tag alone.
const containerdName = "io.containerd.image.name"

// named returns the entries of a layout's index that ref stands for. Without a ref it returns all of them, if they are one
// image.
func named(all []v1.Descriptor, ref string) ([]v1.Descriptor, error) {
	images := slices.DeleteFunc(slices.Clone(all), func(d v1.Descriptor) bool { return !isImage(d) })
	if ref == "" {
		return images, single(images)
	}
	var found []v1.Descriptor
	for _, d := range images {
		if slices.ContainsFunc(refNames(d), func(name string) bool { return sameRef(name, ref) }) || d.Digest.String() == ref {
			found = append(found, d)
		}
	}
	if len(found) == 0 {
		return nil, missing("no image %s in it, only %s", quote(ref), listNames(images))
	}
	return found, single(found)
}

// single reports whether the entries are one image: the same one under several names, or for several platforms.
func single(images []v1.Descriptor) error {
	names := map[string]bool{}
	digests := map[string]bool{}
	platforms := map[string]bool{}
	for _, d := range images {
		if digests[d.Digest.String()] {
			continue
		}
		digests[d.Digest.String()] = true
		names[strings.Join(refNames(d), " ")] = true
		p := ""
		if d.Platform != nil {
			p = platformOf(d.Platform).String()
		}
		platforms[p] = true
	}
	if len(digests) > 1 && (len(names) > 1 || len(platforms) < len(digests)) {
		return malformed("holds several images, %s: say which", listNames(images))
	}
	return nil
}

func refNames(d v1.Descriptor) []string {
	var names []string
	for _, key := range []string{v1.AnnotationRefName, containerdName} {
		if n := d.Annotations[key]; n != "" {
			names = append(names, n)
		}
	}
	return names
}

// sameRef compares a name in an image with one that the caller gave, as docker does: with its own registry, the folder
// "library" and the tag "latest" as the defaults.
func sameRef(name, ref string) bool {
	short := func(s string) string { return strings.TrimPrefix(strings.TrimPrefix(s, "docker.io/"), "library/") }
	name, ref = short(name), short(ref)
	return name == ref || name == ref+":latest"
}

func listNames(images []v1.Descriptor) string {
	const most = 20
	var names []string
	for _, d := range images {
		n := d.Digest.String()
		if r := refNames(d); len(r) > 0 {
			n = r[len(r)-1]
		}
		names = append(names, quote(n))
	}
	slices.Sort(names)
	names = slices.Compact(names)
	if len(names) == 0 {
		return "nothing"
	}
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return strings.Join(names, ", ")
}
