//go:build !linux

package rootfs

import (
	"context"
	"errors"
	"os"
)

// HeldLayer is a layer that cannot be removed as long as it is held.
type HeldLayer struct{ StoredLayer }

// Filled is what was put into a layer.
type Filled struct {
	Bytes   int64
	Entries int64
	Notes   []string
}

func unsupportedStore(op string) error { return &StoreError{Op: op, Err: errors.ErrUnsupported} }

// Release lets the layer go.
func (h *HeldLayer) Release() {}

// Hold needs Linux.
func (s Store) Hold(context.Context, string, func(*os.File) (Filled, error)) (*HeldLayer, error) {
	return nil, unsupportedStore("hold")
}

// Layers needs Linux.
func (s Store) Layers() ([]StoredLayer, error) { return nil, unsupportedStore("list") }

// Remove needs Linux.
func (s Store) Remove(string) error { return unsupportedStore("remove") }

// Prune needs Linux.
func (s Store) Prune() ([]StoredLayer, error) { return nil, unsupportedStore("prune") }
