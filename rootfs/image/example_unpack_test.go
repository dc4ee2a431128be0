package image_test

import (
	"context"
	"fmt"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/rootfs/image"
)

// What a store has is shared by all who name it, and is not removed while anybody holds it.
func ExampleImage_Unpack() {
	store := rootfs.Store{Dir: "/var/cache/jobs/layers"}
	img, err := image.Open("debian.tar:debian:12", image.WithStore(store), image.WithLimits(image.Limits{Bytes: 1 << 30}))
	if err != nil {
		return
	}
	defer img.Close()
	unpacked, err := img.Unpack(context.Background())
	if err != nil {
		return
	}
	defer unpacked.Release()
	for _, op := range rootfs.Stack(unpacked.Dirs) {
		fmt.Println(op)
	}
}
