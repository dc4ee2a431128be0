package image_test

import (
	"errors"
	"fmt"

	"github.com/belljar-go/belljar/rootfs/image"
)

func ExampleOpen() {
	img, err := image.Open("testdata/nothing.tar", image.WithRef("debian:12"))
	if err != nil {
		fmt.Println(errors.Is(err, image.ErrNotFound))
		return
	}
	defer img.Close()
	fmt.Println(img.Config().Entrypoint, len(img.Layers()))
	// Output: true
}
