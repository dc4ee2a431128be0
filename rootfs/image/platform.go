package image

import (
	"runtime"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sys/cpu"
)

// Platform is what an image is built for, in the terms of Go's GOOS and GOARCH and of the OCI
// image index.
type Platform struct {
	OS           string // "linux"
	Architecture string // "amd64", "arm64", …
	Variant      string // "v8", …; "" for none
}

// Host is the platform of this machine. Its OS is linux wherever it is asked, for that is
// what sandboxes run.
func Host() Platform {
	p := Platform{OS: "linux", Architecture: runtime.GOARCH}
	switch p.Architecture {
	case "arm64":
		p.Variant = "v8"
	case "arm":
		p.Variant = "v7"
	case "amd64":
		p.Variant = "v" + strconv.Itoa(amd64Level())
	}
	return p
}

// amd64Level is the level of the x86-64 psABI that this processor reaches.
func amd64Level() int {
	x := cpu.X86
	switch {
	case !(x.HasSSE3 && x.HasSSSE3 && x.HasSSE41 && x.HasSSE42 && x.HasPOPCNT && x.HasCX16):
		return 1
	case !(x.HasAVX && x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasFMA && x.HasOSXSAVE):
		return 2
	case !(x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL):
		return 3
	}
	return 4
}

// ParsePlatform reads "os/arch" or "os/arch/variant".
func ParsePlatform(s string) (Platform, error) {
	parts := strings.Split(s, "/")
	if len(parts) < 2 || len(parts) > 3 || slices.Contains(parts, "") {
		return Platform{}, malformed("platform %s is not of the form os/arch or os/arch/variant", quote(s))
	}
	p := Platform{OS: parts[0], Architecture: parts[1]}
	if len(parts) == 3 {
		p.Variant = parts[2]
	}
	return p, nil
}

// String returns "os/arch" or "os/arch/variant".
func (p Platform) String() string {
	s := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		s += "/" + p.Variant
	}
	return s
}

// baseVariant is what no variant means.
var baseVariant = map[string]string{"amd64": "v1", "arm64": "v8", "arm": "v7"}

// variant returns the variant with the default filled in, and for 64-bit ones its number.
func (p Platform) variant() string {
	if p.Variant != "" {
		return p.Variant
	}
	return baseVariant[p.Architecture]
}

// runs tells how well an image for q runs on p: 0 not at all, more is better. A processor runs what is for an older variant.
func (p Platform) runs(q Platform) int {
	if p.OS != q.OS || p.Architecture != q.Architecture {
		return 0
	}
	mine, theirs := p.variant(), q.variant()
	if mine == theirs {
		return 1 << 10
	}
	m, merr := strconv.Atoi(strings.TrimPrefix(mine, "v"))
	t, terr := strconv.Atoi(strings.TrimPrefix(theirs, "v"))
	if merr != nil || terr != nil || t < 1 || t > m || m >= 1<<10 {
		return 0
	}
	return t
}

func platformOf(p *v1.Platform) Platform {
	return Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}
}
