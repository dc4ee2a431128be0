//go:build linux

package zygote

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// However many sandboxes there are, only the last that were used have a spare leaf.
func TestSparesAreFew(t *testing.T) {
	var s spares
	boxes := make([]*box, maxSpares+2)
	for i := range boxes {
		boxes[i] = &box{id: uint64(i)}
	}
	for _, b := range boxes[:maxSpares] {
		assert.Nil(t, s.add(b))
	}
	assert.Nil(t, s.add(boxes[0]), "who has one already takes nobody's place")
	assert.Equal(t, boxes[1].id, s.add(boxes[maxSpares]).id, "the one that has not been used for longest")
	s.remove(boxes[2])
	assert.Nil(t, s.add(boxes[maxSpares+1]))
	assert.Len(t, s.list, maxSpares)
}
