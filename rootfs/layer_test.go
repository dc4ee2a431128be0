package rootfs_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/belljar-go/belljar/rootfs"
)

func TestStack(t *testing.T) {
	got := lines(rootfs.Stack([]string{"/a", "/b", "/a", "/c d"}, rootfs.Dir{Target: "/x"}))
	assert.Equal(t, []string{"base /b ro", "layer /a ro", `layer "/c d" ro`, "proc on /proc"}, got[:4], "the higher of two places counts")
	assert.Equal(t, "dir /x mode=0755", got[len(got)-1])
	require.NoError(t, rootfs.Validate(rootfs.Stack([]string{"/a", "/b", "/a"})))

	var many []string
	for i := range rootfs.MaxLayers {
		many = append(many, fmt.Sprint("/l/", i))
	}
	require.NoError(t, rootfs.Validate(rootfs.Stack(many)))
	assert.ErrorContains(t, rootfs.Validate(rootfs.Stack(append(many, "/more"))), "more than 128 layers")
}

func TestLayerPlace(t *testing.T) {
	base, a, x := rootfs.Base{Dir: "/base"}, rootfs.Layer{Dir: "/a"}, rootfs.Dir{Target: "/x"}
	for why, ops := range map[string][]rootfs.Op{
		"first operation":  {a},
		"given twice":      {base, a, a},
		"right after":      {base, x, a},
		"not absolute":     {base, rootfs.Layer{Dir: "a"}},
		"can be the root":  {base, a, base},
		"contains a NUL":   {base, rootfs.Layer{Dir: "/a\x00"}},
		"layer comes righ": {rootfs.Tmpfs{Target: "/"}, a},
	} {
		assert.ErrorContains(t, rootfs.Validate(ops), why)
	}
	assert.ErrorContains(t, rootfs.Validate([]rootfs.Op{base, rootfs.Layer{Dir: "/base"}}), "given twice")
}
