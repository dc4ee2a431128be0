package rootfs_test

import (
	"fmt"

	"github.com/belljar-go/belljar/rootfs"
)

// Prune gives back the room of layers that no sandbox has.
func ExampleStore_Prune() {
	store := rootfs.Store{} // the default one
	gone, err := store.Prune()
	if err != nil {
		return
	}
	var bytes int64
	for _, layer := range gone {
		bytes += layer.Bytes
	}
	fmt.Println(len(gone), "layers,", bytes, "bytes")
}
