package image

import "slices"

// Progress tells how far [Image.Unpack] has come.
type Progress struct {
	Layer, Layers int    // which of how many, from 0
	Digest        string // of the layer, as in [Layer]; "" if the image does not say
	Read, Size    int64  // bytes of the layer as it lies in the image
	Done          bool   // with this layer
	Stored        bool   // the store had it already
}

// Unpacked is an image whose layers are in a store, held until Release.
type Unpacked struct {
	// Dirs are the layers' directories, the lowest first, as for rootfs.Stack.
	Dirs []string
	// Notes say what is stored in another way than the image has it, such as files whose owners could not be had.
	Notes []string

	held []holder
}

// User is who an image is run as.
type User struct {
	UID, GID int
	Groups   []int // supplementary groups, ascending
}

type holder interface{ Release() }

// Release lets the layers go: they may then be removed from the store. It may be called again.
func (u *Unpacked) Release() {
	if u == nil {
		return
	}
	for _, h := range u.held {
		h.Release()
	}
	u.held = nil
}

// note adds what is not said already.
func (u *Unpacked) note(notes ...string) {
	for _, n := range notes {
		if !slices.Contains(u.Notes, n) {
			u.Notes = append(u.Notes, n)
		}
	}
}
