// Command pull runs a program of a container image from a registry in a sandbox: it pulls the image into an OCI image layout, from which
// sandbox.WithImage takes it. The library knows nothing of registries; go-containerregistry does.
//
//	pull [-cache DIR] [-as-root] [-m SIZE] REFERENCE [ARGUMENT…]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/belljar-go/belljar/rootfs/image"
	"github.com/belljar-go/belljar/sandbox"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	code, err := run(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "pull:", err)
		if remedy := sandbox.Explain(err); remedy != "" {
			fmt.Fprintln(os.Stderr, remedy)
		}
	}
	os.Exit(code)
}

// flags is what the command line asks for.
type flags struct {
	cache, memory string
	root          bool
	ref           string
	args          []string
}

func parse(args []string, stderr io.Writer) (*flags, error) {
	f := &flags{}
	set := flag.NewFlagSet("pull", flag.ContinueOnError)
	set.SetOutput(stderr)
	set.StringVar(&f.cache, "cache", defaultCache(), "where layouts and unpacked layers are kept")
	set.StringVar(&f.memory, "m", "", "limit of memory, such as 256m")
	set.BoolVar(&f.root, "as-root", false, "run as root inside, which is not root outside, where the image has no other user")
	if err := set.Parse(args); err != nil {
		return nil, err
	}
	if set.NArg() == 0 {
		return nil, errors.New("name an image: registry.example/repository:tag")
	}
	f.ref, f.args = set.Arg(0), set.Args()[1:]
	return f, nil
}

func defaultCache() string {
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "belljar-pull")
}

// run returns the status to exit with: the program's, or 125 where there is none, as docker run has it.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) (int, error) {
	const failed = 125
	f, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return failed, err
	}
	ref, err := name.ParseReference(f.ref)
	if err != nil {
		return failed, err
	}
	dir, digest, err := pull(ctx, f.cache, ref, remote.WithAuthFromKeychain(authn.DefaultKeychain))
	if err != nil {
		return failed, fmt.Errorf("pull %s: %w", ref, err)
	}
	sb, err := sandbox.New(f.options(dir, digest, stderr)...)
	if err != nil {
		return failed, err
	}
	defer sb.Close()
	cmd := sb.Entrypoint(f.args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, stdout, stderr
	res, err := cmd.Run(ctx)
	if err != nil {
		return failed, err
	}
	if res.Verdict == sandbox.Signaled {
		return 128 + int(res.Signal), nil
	}
	return max(res.ExitCode, 0), nil
}

func (f *flags) options(dir, digest string, stderr io.Writer) []sandbox.Option {
	opts := []sandbox.Option{
		sandbox.WithImage(dir, image.WithRef(digest), image.WithStore(storeIn(f.cache)), image.WithProgress(progress(stderr))),
		sandbox.WithScratch("256m"),
	}
	if f.memory != "" {
		opts = append(opts, sandbox.WithMemory(f.memory))
	}
	if f.root {
		opts = append(opts, sandbox.WithCredential(0, 0))
	}
	return opts
}

// progress shows layers as they are unpacked.
func progress(w io.Writer) func(image.Progress) {
	return func(p image.Progress) {
		if p.Done && !p.Stored {
			fmt.Fprintf(w, "unpacked layer %d of %d, %d bytes\n", p.Layer+1, p.Layers, p.Size)
		}
	}
}
