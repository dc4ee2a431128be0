package image

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
)

// Documents larger than this are refused; registries draw the same line.
const (
	maxDocument = 4 << 20
	maxDepth    = 64 // of nesting in a document
)

// freeKeys are the members of an image's documents that hold names of anybody's choice, which may well differ by
// case alone.
var freeKeys = map[string]bool{"annotations": true, "labels": true, "volumes": true, "exposedports": true}

// decode decodes a document that can be read in one way only. Decoders differ in what they make of a member given twice,
// and Go's also takes "Layers" for "layers"; what one program verified another would then not see.
func decode(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := onlyOneReading(d, false, 0); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return malformed("has something after its end")
	}
	if err := json.Unmarshal(data, into); err != nil {
		return malformed("%v", err)
	}
	return nil
}

// onlyOneReading walks one value.
func onlyOneReading(d *json.Decoder, free bool, depth int) error {
	if depth > maxDepth {
		return malformed("is nested more than %d deep", maxDepth)
	}
	t, err := d.Token()
	if err != nil {
		return malformed("%v", err)
	}
	switch t {
	case json.Delim('{'):
		return members(d, free, depth)
	case json.Delim('['):
		for d.More() {
			if err := onlyOneReading(d, free, depth+1); err != nil {
				return err
			}
		}
		_, err = d.Token()
	}
	if err != nil {
		return malformed("%v", err)
	}
	return nil
}

func members(d *json.Decoder, free bool, depth int) error {
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return malformed("%v", err)
		}
		key, _ := t.(string)
		folded := foldKey(key)
		id := folded
		if free {
			id = key
		}
		if seen[id] {
			return malformed("has two members %s in one object", quote(key))
		}
		seen[id] = true
		if err := onlyOneReading(d, freeKeys[folded], depth+1); err != nil {
			return err
		}
	}
	if _, err := d.Token(); err != nil {
		return malformed("%v", err)
	}
	return nil
}

// foldKey folds as encoding/json does when it looks for a struct's field: ASCII, and the two letters whose lower or upper
// case is ASCII.
func foldKey(s string) string {
	return strings.NewReplacer("ſ", "s", "\u212a", "k").Replace(strings.ToLower(s))
}
