//go:build !linux

package image

import "context"

// Unpack needs Linux.
func (img *Image) Unpack(context.Context) (*Unpacked, error) {
	return nil, &Error{Op: "unpack", Name: img.name, Err: ErrUnsupported}
}

// User needs Linux.
func (u *Unpacked) User(text string) (User, error) {
	return User{}, &Error{Op: "resolve", Name: text, Err: ErrUnsupported}
}
