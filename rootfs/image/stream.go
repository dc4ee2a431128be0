package image

import (
	"hash"
	"io"
	"strconv"

	"github.com/opencontainers/go-digest"
)

// OpenLayer returns layer i, uncompressed: a tar archive, as a stream. The end of the stream
// is reported as io.EOF only if the layer's size and digests are right; what was read before
// is not to be trusted until then. The [Limits] hold for each layer. The caller closes it.
func (img *Image) OpenLayer(i int) (io.ReadCloser, error) {
	if i < 0 || i >= len(img.layers) {
		return nil, &Error{Op: "read", Name: "layer " + strconv.Itoa(i), Err: missing("there are %d layers", len(img.layers))}
	}
	l := img.layers[i]
	fail := func(err error) error { return &Error{Op: "read", Name: "layer " + strconv.Itoa(i), Err: err} }
	b, err := img.source.open(l.file)
	if err != nil {
		return nil, fail(err)
	}
	if b.size != l.Size {
		_ = b.Close()
		return nil, fail(malformed("has %d bytes, not %d", b.size, l.Size))
	}
	s := &stream{blob: b, name: l.file, limits: img.options.limits, diffID: digest.Digest(l.DiffID), in: counter{r: b.reader()}}
	s.outHash = s.diffID.Algorithm().Hash()
	if l.Digest != "" {
		s.digest = digest.Digest(l.Digest)
		s.in.hash = s.digest.Algorithm().Hash()
	}
	if s.out, err = decompress(&s.in, l.compression); err != nil {
		_ = b.Close()
		return nil, fail(err)
	}
	return s, nil
}

// counter counts and hashes what is read through it.
type counter struct {
	r    io.Reader
	n    int64
	hash hash.Hash // nil: not hashed
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	if c.hash != nil {
		c.hash.Write(p[:n])
	}
	return n, err
}

// stream is a layer that is being read.
type stream struct {
	blob           *blob
	name           string
	limits         Limits
	in             counter // the layer as it lies in the image
	out            io.ReadCloser
	outHash        hash.Hash
	n              int64 // uncompressed bytes
	digest, diffID digest.Digest
	err            error // how it ended
}

// Read reads on. Any error is final.
func (s *stream) Read(p []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.out.Read(p)
	s.n += int64(n)
	s.outHash.Write(p[:n])
	if err == nil {
		err = s.excess()
	} else if err == io.EOF {
		if err = s.verify(); err == nil {
			s.err = io.EOF
			return n, io.EOF
		}
	} else {
		err = malformed("%v", err)
	}
	if err != nil {
		s.err = &Error{Op: "verify", Name: s.name, Err: err}
	}
	return n, s.err
}

// excess holds what was read against the limits.
func (s *stream) excess() error {
	if s.n > s.limits.Bytes {
		return tooMuch("uncompressed it has more than the %d bytes it may have", s.limits.Bytes)
	}
	if s.n > freeRatioBytes && s.n/s.limits.Ratio > s.in.n {
		return tooMuch("a layer that uncompresses to more than %d times its size", s.limits.Ratio)
	}
	return nil
}

// verify compares the digests. What follows the end of the compressed data counts for the first.
func (s *stream) verify() error {
	if err := s.excess(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, &s.in); err != nil {
		return err
	}
	if s.in.hash != nil {
		if found := digest.NewDigest(s.digest.Algorithm(), s.in.hash); found != s.digest {
			return malformed("its digest is %s", found)
		}
	}
	if found := digest.NewDigest(s.diffID.Algorithm(), s.outHash); found != s.diffID {
		return malformed("uncompressed its digest is %s, not %s", found, s.diffID)
	}
	return nil
}

// Close gives the layer back.
func (s *stream) Close() error {
	_ = s.out.Close() // has to say only what Read has said
	return s.blob.Close()
}
