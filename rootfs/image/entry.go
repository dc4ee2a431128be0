package image

import (
	"archive/tar"
	"path"
	"strings"
)

// What the names of entries of a layer may be, as for the kernel (PATH_MAX without its NUL, NAME_MAX).
const (
	maxEntryPath = 4095
	maxEntryName = 255
)

// Marks in a layer, by the name of an entry (image-spec, layer.md).
const (
	whiteoutPrefix = ".wh."
	opaqueMark     = ".wh..wh..opq"
	// What aufs kept about itself in its layers, and old programs packed.
	aufsPrefix = ".wh..wh."
)

// entryKind is what an entry of a layer asks for.
type entryKind int

const (
	entryPut      entryKind = iota // something at path
	entryWhiteout                  // nothing of what layers below have at path
	entryOpaque                    // nothing of what layers below have in the directory path
	entryIgnored
)

// entry is an entry of a layer. Its path is relative and clean, "." for the root; so is target, of a hard link.
type entry struct {
	kind   entryKind
	path   string
	target string
}

// readEntry makes sense of a header. The name of an entry comes from the image: whatever could lead out of the layer, or mean
// something else to the next program, is refused.
func readEntry(h *tar.Header) (entry, error) {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return entry{kind: entryIgnored}, nil
	}
	name, err := cleanName(h.Name)
	if err != nil {
		return entry{}, err
	}
	e := entry{kind: entryPut, path: name}
	if e.kind, e.path, err = mark(name); err != nil || e.kind == entryIgnored {
		return e, err
	}
	if e.kind != entryPut && h.Typeflag == tar.TypeDir {
		return e, malformed("whiteout %s is a directory", quote(name))
	}
	if name == "." && h.Typeflag != tar.TypeDir {
		return e, malformed("the root is to be something else than a directory") // CVE-2021-29136
	}
	if e.kind == entryPut && h.Typeflag == tar.TypeLink {
		if e.target, err = cleanName(h.Linkname); err != nil {
			return e, err
		}
		if kind, _, err := mark(e.target); err != nil || kind != entryPut || e.target == "." {
			return e, malformed("%s is a hard link to %s", quote(name), quote(h.Linkname))
		}
	}
	return e, nil
}

// cleanName makes a path below the layer's root of a name, which may be absolute: then it counts from there.
func cleanName(name string) (string, error) {
	switch {
	case name == "":
		return "", malformed("an entry without a name")
	case len(name) > maxEntryPath:
		return "", malformed("a name of %d bytes, %s", len(name), quote(name))
	case strings.IndexByte(name, 0) >= 0:
		return "", malformed("a NUL byte in the name %s", quote(name))
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", malformed(`".." in the name %s`, quote(name))
		}
		if len(part) > maxEntryName {
			return "", malformed("a part of %d bytes in the name %s", len(part), quote(name))
		}
	}
	if name = path.Clean("/" + name)[1:]; name == "" {
		name = "."
	}
	return name, nil
}

// mark tells what a clean name asks for, and where.
func mark(name string) (entryKind, string, error) {
	dir, base := path.Split(name)
	dir = path.Clean("./" + dir)
	for part := range strings.SplitSeq(dir, "/") {
		switch {
		case strings.HasPrefix(part, aufsPrefix):
			return entryIgnored, name, nil
		case strings.HasPrefix(part, whiteoutPrefix):
			return 0, name, malformed("something in the whiteout %s", quote(name))
		}
	}
	hidden, is := strings.CutPrefix(base, whiteoutPrefix)
	switch {
	case !is:
		return entryPut, name, nil
	case base == opaqueMark:
		return entryOpaque, dir, nil
	case strings.HasPrefix(base, aufsPrefix):
		return entryIgnored, name, nil
	case hidden == "" || hidden == "." || hidden == "..":
		return 0, name, malformed("the whiteout %s of no name", quote(name))
	}
	return entryWhiteout, path.Join(dir, hidden), nil
}

// Attributes that are stored: those that anybody may set, but for overlayfs' own marks, with which a layer could hide what is
// below, or show what it should not (CVE-2021-3493 was reached by them).
func keepsAttr(name string) bool {
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

const paxAttr = "SCHILY.xattr."
