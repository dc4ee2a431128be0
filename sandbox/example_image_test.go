package sandbox_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/belljar-go/belljar/rootfs/image"
	"github.com/belljar-go/belljar/sandbox"
)

func ExampleWithImage() {
	sb, err := sandbox.New(
		sandbox.WithImage("testdata/no-such-image", image.WithProgress(func(p image.Progress) {
			if p.Done {
				fmt.Println("layer", p.Layer+1, "of", p.Layers)
			}
		})),
		sandbox.WithScratch("64m"),
	)
	if err != nil {
		fmt.Println(errors.Is(err, fs.ErrNotExist))
		return
	}
	defer sb.Close()
	res, err := sb.Entrypoint("--help").Run(context.Background())
	fmt.Println(res, err)
	// Output: true
}
