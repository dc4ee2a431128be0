package sandbox_test

import (
	"context"
	"fmt"
	"log"

	"github.com/belljar-go/belljar/rootfs"
	"github.com/belljar-go/belljar/sandbox"
)

// A volume is shared by sandboxes and lives on after them.
func ExampleWithVolume() {
	ctx := context.Background()
	cache := rootfs.NamedVolume("build-cache")
	for range 2 {
		_, err := sandbox.Run(ctx, []string{"/bin/sh", "-c", "date >> /cache/runs"}, sandbox.WithVolume(cache, "/cache"))
		if err != nil {
			log.Fatal(err)
		}
	}
	if err := cache.Remove(); err != nil {
		log.Fatal(err) // rootfs.ErrVolumeInUse as long as a sandbox has it
	}
	fmt.Println("removed")
}
