package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"reflect"
	"sync"
	"time"
)

// The body of a message is the fields of its struct in their order, without names: both ends are the same binary. It begins with a fingerprint
// of the struct's layout, so that a body can never be read as another struct, not even one from a program of another version.
//
// Numbers are varints, strings and slices have their length before them, pointers and times a byte that tells whether they are set. Whatever a
// length says, no more is allocated than the bytes that are there can fill.

// ErrProtocol says that the other side sent something that is no message.
var ErrProtocol = errors.New("wire: malformed message")

// coder encodes and decodes values of one type.
type coder struct {
	enc   func(b []byte, v reflect.Value) []byte
	dec   func(d *decoder, v reflect.Value)
	least int    // bytes of the shortest encoding
	shape string // layout, for the fingerprint
}

// layout is the coder of a message's type.
type layout struct {
	*coder
	print uint32
	err   error
}

var layouts sync.Map // reflect.Type to *layout

func layoutOf(t reflect.Type) *layout {
	if l, ok := layouts.Load(t); ok {
		return l.(*layout)
	}
	l := &layout{}
	if l.coder, l.err = newCoder(t, 0); l.err == nil {
		h := fnv.New32a()
		_, _ = h.Write([]byte(l.shape))
		l.print = h.Sum32()
	}
	layouts.Store(t, l)
	return l
}

// encode appends the body for v, a struct or a pointer to one; nil has no body.
func encode(b []byte, v any) ([]byte, error) {
	if v == nil {
		return b, nil
	}
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer {
		if rv.IsNil() {
			return b, nil
		}
		rv = rv.Elem()
	}
	l := layoutOf(rv.Type())
	if l.err != nil {
		return b, l.err
	}
	return l.enc(binary.LittleEndian.AppendUint32(b, l.print), rv), nil
}

// Encode is the body that a message with v has, for what is to be sent within another.
func Encode(v any) ([]byte, error) { return encode(nil, v) }

// Decode is the reverse of Encode; v points to what was encoded.
func Decode(b []byte, v any) error { return decode(b, v) }

// decode reads a body into the struct that v points to.
func decode(b []byte, v any) error {
	rv := reflect.ValueOf(v).Elem()
	l := layoutOf(rv.Type())
	if l.err != nil {
		return l.err
	}
	if len(b) < 4 || binary.LittleEndian.Uint32(b) != l.print {
		return fmt.Errorf("%w: no %v", ErrProtocol, rv.Type())
	}
	d := decoder{b: b[4:]}
	l.dec(&d, rv)
	if d.bad || len(d.b) != 0 {
		rv.SetZero()
		return fmt.Errorf("%w: %v", ErrProtocol, rv.Type())
	}
	return nil
}

const maxDepth = 16

var timeType = reflect.TypeFor[time.Time]()

func newCoder(t reflect.Type, depth int) (*coder, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("wire: %v is recursive", t)
	}
	if t == timeType {
		return timeCoder, nil
	}
	switch t.Kind() {
	case reflect.Bool:
		return boolCoder, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intCoder(t), nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return uintCoder(t), nil
	case reflect.Float64:
		return floatCoder, nil
	case reflect.String:
		return stringCoder, nil
	case reflect.Slice:
		return sliceCoder(t, depth)
	case reflect.Pointer:
		return pointerCoder(t, depth)
	case reflect.Struct:
		return structCoder(t, depth)
	}
	return nil, fmt.Errorf("wire: no encoding for %v", t)
}

// decoder is what is left of a body.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) take(n uint64) []byte {
	if d.bad || n > uint64(len(d.b)) {
		d.bad = true
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

// flag is a byte that is 0 or 1.
func (d *decoder) flag() bool {
	b := d.byte()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	if d.bad || n <= 0 {
		d.bad = true
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	u := d.uvarint()
	v := int64(u >> 1)
	if u&1 != 0 {
		v = ^v
	}
	return v
}

var boolCoder = &coder{
	enc: func(b []byte, v reflect.Value) []byte {
		if v.Bool() {
			return append(b, 1)
		}
		return append(b, 0)
	},
	dec:   func(d *decoder, v reflect.Value) { v.SetBool(d.flag()) },
	least: 1, shape: "bool",
}

func intCoder(t reflect.Type) *coder {
	return &coder{
		enc: func(b []byte, v reflect.Value) []byte { return binary.AppendVarint(b, v.Int()) },
		dec: func(d *decoder, v reflect.Value) {
			n := d.varint()
			if v.OverflowInt(n) {
				d.bad = true
				return
			}
			v.SetInt(n)
		},
		least: 1, shape: t.Kind().String(),
	}
}

func uintCoder(t reflect.Type) *coder {
	return &coder{
		enc: func(b []byte, v reflect.Value) []byte { return binary.AppendUvarint(b, v.Uint()) },
		dec: func(d *decoder, v reflect.Value) {
			n := d.uvarint()
			if v.OverflowUint(n) {
				d.bad = true
				return
			}
			v.SetUint(n)
		},
		least: 1, shape: t.Kind().String(),
	}
}

var floatCoder = &coder{
	enc: func(b []byte, v reflect.Value) []byte {
		return binary.LittleEndian.AppendUint64(b, math.Float64bits(v.Float()))
	},
	dec: func(d *decoder, v reflect.Value) {
		if b := d.take(8); b != nil {
			v.SetFloat(math.Float64frombits(binary.LittleEndian.Uint64(b)))
		}
	},
	least: 8, shape: "float64",
}

var stringCoder = &coder{
	enc: func(b []byte, v reflect.Value) []byte {
		s := v.String()
		return append(binary.AppendUvarint(b, uint64(len(s))), s...)
	},
	dec:   func(d *decoder, v reflect.Value) { v.SetString(string(d.take(d.uvarint()))) },
	least: 1, shape: "string",
}

// timeCoder keeps the wall clock to the nanosecond; the zero time stays zero.
var timeCoder = &coder{
	enc: func(b []byte, v reflect.Value) []byte {
		t := v.Interface().(time.Time)
		if t.IsZero() {
			return append(b, 0)
		}
		return binary.AppendVarint(append(b, 1), t.UnixNano())
	},
	dec: func(d *decoder, v reflect.Value) {
		if d.flag() {
			v.Set(reflect.ValueOf(time.Unix(0, d.varint())))
		} else {
			v.SetZero()
		}
	},
	least: 1, shape: "time",
}

func sliceCoder(t reflect.Type, depth int) (*coder, error) {
	elem, err := newCoder(t.Elem(), depth+1)
	if err != nil {
		return nil, err
	}
	if elem.least == 0 {
		return nil, fmt.Errorf("wire: elements of %v take no room", t)
	}
	return &coder{
		enc: func(b []byte, v reflect.Value) []byte {
			b = binary.AppendUvarint(b, uint64(v.Len()))
			for i := range v.Len() {
				b = elem.enc(b, v.Index(i))
			}
			return b
		},
		dec: func(d *decoder, v reflect.Value) {
			n := d.uvarint()
			if n > uint64(len(d.b)/elem.least) {
				d.bad = true
				return
			}
			if n == 0 {
				v.SetZero()
				return
			}
			v.Set(reflect.MakeSlice(t, int(n), int(n)))
			for i := 0; i < int(n) && !d.bad; i++ {
				elem.dec(d, v.Index(i))
			}
		},
		least: 1, shape: "[]" + elem.shape,
	}, nil
}

func pointerCoder(t reflect.Type, depth int) (*coder, error) {
	elem, err := newCoder(t.Elem(), depth+1)
	if err != nil {
		return nil, err
	}
	return &coder{
		enc: func(b []byte, v reflect.Value) []byte {
			if v.IsNil() {
				return append(b, 0)
			}
			return elem.enc(append(b, 1), v.Elem())
		},
		dec: func(d *decoder, v reflect.Value) {
			if !d.flag() {
				v.SetZero()
				return
			}
			v.Set(reflect.New(t.Elem()))
			elem.dec(d, v.Elem())
		},
		least: 1, shape: "*" + elem.shape,
	}, nil
}

func structCoder(t reflect.Type, depth int) (*coder, error) {
	c := &coder{shape: "{"}
	fields := make([]*coder, t.NumField())
	for i := range fields {
		f := t.Field(i)
		if !f.IsExported() {
			return nil, fmt.Errorf("wire: %v has the field %s, which cannot be sent", t, f.Name)
		}
		var err error
		if fields[i], err = newCoder(f.Type, depth+1); err != nil {
			return nil, err
		}
		c.least += fields[i].least
		c.shape += f.Name + " " + fields[i].shape + ";"
	}
	c.shape += "}"
	c.enc = func(b []byte, v reflect.Value) []byte {
		for i, f := range fields {
			b = f.enc(b, v.Field(i))
		}
		return b
	}
	c.dec = func(d *decoder, v reflect.Value) {
		for i, f := range fields {
			f.dec(d, v.Field(i))
		}
	}
	return c, nil
}

// JoinParts makes one of two parts of a message.
func JoinParts(a, b []byte) []byte {
	out := make([]byte, 0, 4+len(a)+len(b))
	out = binary.LittleEndian.AppendUint32(out, uint32(len(a)))
	return append(append(out, a...), b...)
}

// SplitParts is the reverse of JoinParts.
func SplitParts(raw []byte) (a, b []byte, err error) {
	if len(raw) < 4 || uint64(binary.LittleEndian.Uint32(raw)) > uint64(len(raw)-4) {
		return nil, nil, ErrProtocol
	}
	n := 4 + int(binary.LittleEndian.Uint32(raw))
	return raw[4:n:n], raw[n:], nil
}
