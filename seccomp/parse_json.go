package seccomp

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// reader walks JSON by the form it expects, token by token: what does not belong is found where it begins, and hostile
// nesting ends at the first value the form has no place for. Field names are exact and stand once, which encoding/json
// by itself does not demand: a second "action" must not hide behind the first.
type reader struct {
	text []byte
	dec  *json.Decoder
	path []string
}

func newReader(text []byte) *reader {
	r := &reader{text: text, dec: json.NewDecoder(bytes.NewReader(text))}
	r.dec.UseNumber()
	return r
}

// place is where something stands in the text.
type place struct {
	offset int64
	path   string // "syscalls[3].args[0].op"
}

// at is an error with its place.
type at struct {
	place
	err error
}

func (e *at) Error() string { return e.err.Error() }

// value is what stands somewhere.
type value[T any] struct {
	v T
	place
	set bool
}

func (r *reader) here() place {
	return place{r.begin(), strings.TrimPrefix(strings.Join(r.path, ""), ".")}
}

// begin is where the next value starts: the decoder stands at the end of the last one.
func (r *reader) begin() int64 {
	i := r.dec.InputOffset()
	for i < int64(len(r.text)) && strings.IndexByte(" \t\r\n,:", r.text[i]) >= 0 {
		i++
	}
	return i
}

func (r *reader) within(step string, read func() error) error {
	r.path = append(r.path, step)
	err := read()
	r.path = r.path[:len(r.path)-1]
	return err
}

// token reads one; what cannot be one is an error with its place.
func (r *reader) token() (json.Token, error) {
	here := r.here()
	token, err := r.dec.Token()
	var syntax *json.SyntaxError
	switch {
	case err == nil:
		return token, nil
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, &at{place{int64(len(r.text)), ""}, fmt.Errorf("%w: the text ends early", ErrInvalid)}
	case errors.As(err, &syntax):
		here.offset = max(here.offset, syntax.Offset-1)
	}
	return nil, &at{here, fmt.Errorf("%w: %w", ErrInvalid, err)}
}

// object reads an object of these fields; null has none of them.
func (r *reader) object(fields map[string]func() error) error {
	here := r.here()
	token, err := r.token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('{') {
		return mismatch(here, token, "an object")
	}
	seen := map[string]bool{}
	for r.dec.More() {
		key := r.here()
		token, err := r.token()
		if err != nil {
			return err
		}
		name := token.(string) // where a key belongs the decoder takes nothing else
		read, known := fields[name]
		switch {
		case !known:
			return &at{key, fmt.Errorf("%w: unknown field %q", ErrInvalid, name)}
		case seen[name]:
			return &at{key, fmt.Errorf("%w: field %q stands twice", ErrInvalid, name)}
		}
		seen[name] = true
		if err := r.within("."+name, read); err != nil {
			return err
		}
	}
	_, err = r.token()
	return err
}

// list reads a list, each element by read; null is an empty one.
func (r *reader) list(read func() error) error {
	here := r.here()
	token, err := r.token()
	if err != nil || token == nil {
		return err
	}
	if token != json.Delim('[') {
		return mismatch(here, token, "a list")
	}
	for i := 0; r.dec.More(); i++ {
		if err := r.within("["+strconv.Itoa(i)+"]", read); err != nil {
			return err
		}
	}
	_, err = r.token()
	return err
}

// word reads a string; null is none.
func (r *reader) word(into *value[string]) error {
	here := r.here()
	token, err := r.token()
	if err != nil || token == nil {
		return err
	}
	s, ok := token.(string)
	if !ok {
		return mismatch(here, token, "a string")
	}
	*into = value[string]{s, here, true}
	return nil
}

func (r *reader) words(into *[]value[string]) error {
	return r.list(func() error {
		v := value[string]{place: r.here()} // null in a list is the empty name, which nothing has
		err := r.word(&v)
		*into = append(*into, v)
		return err
	})
}

// number reads a whole number of up to 64 bits, without sign, fraction or exponent; null is none.
func (r *reader) number(into *value[uint64]) error {
	here := r.here()
	token, err := r.token()
	if err != nil || token == nil {
		return err
	}
	digits, ok := token.(json.Number)
	if !ok {
		return mismatch(here, token, "a number")
	}
	n, err := strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return &at{here, fmt.Errorf("%w: %s is no whole number from 0 to 18446744073709551615", ErrInvalid, clipped(string(digits)))}
	}
	*into = value[uint64]{n, here, true}
	return nil
}

func mismatch(here place, token json.Token, want string) error {
	have := ""
	switch t := token.(type) {
	case json.Delim:
		have = string(rune(t))
	case string:
		have = strconv.Quote(clipped(t))
	default:
		have = clipped(fmt.Sprint(t))
	}
	return &at{here, fmt.Errorf("%w: %s in place of %s", ErrInvalid, have, want)}
}

// clipped keeps a hostile text out of the error but for its beginning.
func clipped(s string) string {
	const longest = 40
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}

// field and its kin read into a variable.
func (r *reader) wordField(into *value[string]) func() error {
	return func() error { return r.word(into) }
}

func (r *reader) wordsField(into *[]value[string]) func() error {
	return func() error { return r.words(into) }
}

func (r *reader) numberField(into *value[uint64]) func() error {
	return func() error { return r.number(into) }
}

// end makes sure that nothing follows.
func (r *reader) end() error {
	if i := r.begin(); i < int64(len(r.text)) {
		return &at{place{i, ""}, fmt.Errorf("%w: text after the profile", ErrInvalid)}
	}
	return nil
}

// located turns an error into a *ParseError.
func (r *reader) located(err error) error {
	var where *at
	if !errors.As(err, &where) {
		where = &at{place{0, ""}, err}
	}
	before := r.text[:min(where.offset, int64(len(r.text)))]
	line := bytes.Count(before, []byte("\n"))
	column := len(before) - (bytes.LastIndexByte(before, '\n') + 1)
	return &ParseError{Line: line + 1, Column: column + 1, Path: where.path, Err: where.err}
}
