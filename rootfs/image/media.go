package image

import (
	"bufio"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// Docker's own media types, from before there was a specification. They are the same documents.
const (
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerConfig   = "application/vnd.docker.container.image.v1+json"
	dockerLayer    = "application/vnd.docker.image.rootfs.diff.tar"
	dockerForeign  = "application/vnd.docker.image.rootfs.foreign.diff.tar"
)

func isIndex(mediaType string) bool {
	return mediaType == v1.MediaTypeImageIndex || mediaType == dockerList
}

func isManifest(mediaType string) bool {
	return mediaType == v1.MediaTypeImageManifest || mediaType == dockerManifest
}

func isConfig(mediaType string) bool {
	return mediaType == v1.MediaTypeImageConfig || mediaType == dockerConfig
}

// compression is how a layer is compressed.
type compression int

const (
	plain compression = iota
	gzipped
	zstandard
	undeclared // by its first bytes: the old form of docker save says nothing
)

func (c compression) String() string {
	return [...]string{"no compression", "gzip", "zstd", "undeclared"}[c]
}

// layerTypes are the media types of layers, without the part that names the compression.
var layerTypes = map[string]bool{
	v1.MediaTypeImageLayer: true,
	"application/vnd.oci.image.layer.nondistributable.v1.tar": true,
	dockerLayer:   true,
	dockerForeign: true,
}

// layerCompression tells the compression from a layer's media type.
func layerCompression(mediaType string) (compression, error) {
	if layerTypes[mediaType] {
		return plain, nil
	}
	for suffix, c := range map[string]compression{"+gzip": gzipped, ".gzip": gzipped, "+zstd": zstandard, ".zstd": zstandard} {
		if base, ok := strings.CutSuffix(mediaType, suffix); ok && layerTypes[base] {
			return c, nil
		}
	}
	return 0, unsupported("layer of media type %s", quote(mediaType))
}

// magic tells the compression from the first bytes (RFC 1952, RFC 8878).
func magic(head []byte) compression {
	switch {
	case len(head) >= 2 && head[0] == 0x1f && head[1] == 0x8b:
		return gzipped
	case len(head) >= 4 && string(head[:4]) == "\x28\xb5\x2f\xfd":
		return zstandard
	case len(head) >= 4 && head[0]&0xf0 == 0x50 && string(head[1:4]) == "\x2a\x4d\x18": // a skippable frame
		return zstandard
	}
	return plain
}

// maxWindow bounds the memory that reading a zstd layer takes, in bytes. The zstd command refuses more, too, unless asked.
const maxWindow = 128 << 20

// decompress returns the reader of what is compressed in r, which has to be compressed as declared.
func decompress(r io.Reader, declared compression) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	head, err := b.Peek(4)
	if err != nil && err != io.EOF {
		return nil, err
	}
	found := magic(head)
	if declared != undeclared && found != declared {
		return nil, malformed("media type says %v, the content %v", declared, found)
	}
	switch found {
	case gzipped:
		return gzip.NewReader(b)
	case zstandard:
		d, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}
