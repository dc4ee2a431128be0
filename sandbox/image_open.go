package sandbox

import (
	"context"

	"github.com/belljar-go/belljar/rootfs/image"
)

// openedImage is an image of package image.
type openedImage struct{ *image.Image }

func readImage(path string, opts []image.Option) (imageSource, error) {
	img, err := image.Open(path, opts...)
	if err != nil {
		return nil, err
	}
	return openedImage{img}, nil
}

func (i openedImage) facts() imageFacts {
	f := imageFacts{digest: i.Digest(), config: i.Config(), store: i.Store()}
	for _, l := range i.Layers() {
		f.keys = append(f.keys, l.ChainID)
	}
	return f
}

func (i openedImage) unpack(ctx context.Context) (u *image.Unpacked, user image.User, noUser, err error) {
	if u, err = i.Unpack(ctx); err != nil {
		return nil, image.User{}, nil, err
	}
	user, noUser = u.User(i.Config().User)
	return u, user, noUser, nil
}
