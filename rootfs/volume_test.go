package rootfs

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestVolumeName(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "0": true, "A.b_c-9": true, strings.Repeat("x", 128): true,
		strings.Repeat("x", 129): false, ".a": false, "-a": false, "a/b": false, "a\n": false, "a b": false, "é": false, "..": false,
	} {
		err := NamedVolume(name).Validate()
		assert.Equal(t, ok, err == nil, "%q: %v", name, err)
	}
}
