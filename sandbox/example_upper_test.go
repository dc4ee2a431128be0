package sandbox_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/belljar-go/belljar/sandbox"
)

// A layer that is kept: what one sandbox installs is there in the next. What was changed can be listed, and becomes a layer that any number of
// sandboxes can share.
func ExampleWithUpper() {
	base, mine := "/srv/roots/debian", "/srv/private/work"
	sb, err := sandbox.New(sandbox.WithLayers(base), sandbox.WithUpper(mine), sandbox.WithCredential(0, 0))
	if err != nil {
		log.Fatal(err, "\n", sandbox.Explain(err))
	}
	if _, err := sb.Run(context.Background(), "/bin/sh", "-c", "echo hello > /etc/motd"); err != nil {
		log.Fatal(err)
	}
	if err := sb.Close(); err != nil {
		log.Fatal(err)
	}
	for change, err := range sb.Diff() {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(change) // C /etc/motd (content,times)
	}
	if err := sb.Commit("/srv/private/layer"); err != nil {
		log.Fatal(err)
	}
	image, err := os.Create("/srv/private/layer.tar") // for umoci raw add-layer, say
	if err != nil {
		log.Fatal(err)
	}
	defer image.Close()
	if err := sb.WriteLayer(image); err != nil {
		log.Fatal(err)
	}
	next, err := sandbox.New(sandbox.WithLayers(base, "/srv/private/layer"), sandbox.WithScratch("64m"))
	if err != nil {
		log.Fatal(err)
	}
	defer next.Close()
}
