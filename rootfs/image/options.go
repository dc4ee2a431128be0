package image

import (
	"math"

	"github.com/belljar-go/belljar/rootfs"
)

// Option is what may be said to [Open] beside a path.
type Option func(*options)

type options struct {
	ref      string
	platform Platform
	limits   Limits
	store    rootfs.Store
	progress func(Progress)
}

func fold(opts []Option) options {
	o := options{platform: Host()}
	for _, set := range opts {
		if set != nil {
			set(&o)
		}
	}
	o.limits = o.limits.orDefault()
	return o
}

// WithRef names one of several images: by the name the layout has for it, such as "v1.2"; by a
// repository's, such as "debian:12"; or by the digest of its manifest or index. Without it
// the layout or archive has to hold a single one.
func WithRef(ref string) Option { return func(o *options) { o.ref = ref } }

// WithPlatform asks for an image for another platform than [Host].
func WithPlatform(p Platform) Option { return func(o *options) { o.platform = p } }

// WithLimits replaces the [Limits] of reading. Its zero fields stay the defaults.
func WithLimits(l Limits) Option { return func(o *options) { o.limits = l } }

// WithStore names the store that [Image.Unpack] puts layers into, in place of [rootfs.DefaultStore].
func WithStore(s rootfs.Store) Option { return func(o *options) { o.store = s } }

// WithProgress has f called by [Image.Unpack] as it goes on: when a layer begins, for about every MiB read,
// and when it is done. It is called by the goroutine that unpacks, which waits for it.
func WithProgress(f func(Progress)) Option { return func(o *options) { o.progress = f } }

// Limits bound what an image may cost. A zero field stands for its default, a negative one for no
// limit.
type Limits struct {
	Layers int // 500, which is what overlayfs stacks
	// Bytes that all layers together uncompress to, and that all their files have, holes counted
	// in full; 16 GiB. OpenLayer counts each layer by itself.
	Bytes int64
	// Entries is how many files and directories all layers together have, whiteouts included; 1000000.
	Entries int64
	// Ratio is how many bytes a layer may have per byte it is compressed to; 200. The first
	// 64 MiB of a layer are free: little is lost by them.
	Ratio int64
}

const freeRatioBytes = 64 << 20

func (l Limits) orDefault() Limits {
	l.Layers = orInt(l.Layers, 500)
	l.Bytes = or(l.Bytes, 16<<30)
	l.Entries = or(l.Entries, 1_000_000)
	l.Ratio = or(l.Ratio, 200)
	return l
}

// or replaces 0 by the default, and a negative number by the largest.
func or(n, instead int64) int64 {
	switch {
	case n == 0:
		return instead
	case n < 0:
		return math.MaxInt64
	}
	return n
}

func orInt(n, instead int) int { return int(min(or(int64(n), int64(instead)), math.MaxInt)) }
