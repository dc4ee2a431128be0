package main

import (
	"fmt"
	"strings"
)

// parse reads a command line in the manner of docker's: --long, --long=value, --long value, -s value, -svalue,
// switches run together as in -it; the first word that is no flag, or --, begins the program's own.
func parse(args []string) (*request, error) {
	r := &request{uid: 1000, gid: 1000}
	for len(args) > 0 {
		word := args[0]
		switch {
		case word == "--":
			r.command = args[1:]
			return r, r.finish()
		case strings.HasPrefix(word, "--"):
			rest, err := r.long(word[2:], args[1:])
			if err != nil {
				return nil, err
			}
			args = rest
		case len(word) > 1 && word[0] == '-':
			rest, err := r.short(word[1:], args[1:])
			if err != nil {
				return nil, err
			}
			args = rest
		default:
			r.command = args
			return r, r.finish()
		}
	}
	return r, r.finish()
}

// long handles a word that began with two hyphens, and returns the words behind it and its value.
func (r *request) long(word string, rest []string) ([]string, error) {
	name, value, given := strings.Cut(word, "=")
	f := findLong(name)
	if f == nil {
		return nil, fmt.Errorf("unknown flag: --%s", name)
	}
	switch {
	case f.value == "" && !given:
		value = "true"
	case !given && len(rest) == 0:
		return nil, fmt.Errorf("--%s needs a value: %s", name, f.value)
	case !given:
		value, rest = rest[0], rest[1:]
	}
	return rest, f.apply(r, "--"+name, value)
}

// short handles a word that began with one hyphen: switches, and at most one flag with a value, which is the
// last.
func (r *request) short(word string, rest []string) ([]string, error) {
	whole := word
	for word != "" {
		letter := word[:1]
		word = word[1:]
		f := findShort(letter)
		if f == nil {
			return nil, fmt.Errorf("unknown flag: -%s in -%s", letter, whole)
		}
		if f.value == "" && !strings.HasPrefix(word, "=") {
			if err := f.apply(r, "-"+letter, "true"); err != nil {
				return nil, err
			}
			continue
		}
		value := strings.TrimPrefix(word, "=")
		if word == "" {
			if len(rest) == 0 {
				return nil, fmt.Errorf("-%s needs a value: %s", letter, f.value)
			}
			value, rest = rest[0], rest[1:]
		}
		return rest, f.apply(r, "-"+letter, value)
	}
	return rest, nil
}

// flag is one flag. A flag without a value is a switch, which also takes =true and =false.
type flag struct {
	long, short string
	also        string // another long name, docker's or the library's
	value       string // what the value is, for people
	help        string
	option      string // the library's option, by which its errors name the flag
	set         func(r *request, value string) error
	turn        func(r *request, on bool) error // of a switch
}

// apply sets the flag and names it in the error.
func (f *flag) apply(r *request, name, value string) error {
	var err error
	switch {
	case f.value != "":
		err = f.set(r, value)
	case value == "true" || value == "false":
		err = f.turn(r, value == "true")
	default:
		err = fmt.Errorf("is a switch: true or false")
	}
	if err != nil {
		return fmt.Errorf("%s %q: %w", name, value, err)
	}
	return nil
}

func findLong(name string) *flag {
	for i := range flags {
		if f := &flags[i]; name != "" && (f.long == name || f.also == name) {
			return f
		}
	}
	return nil
}

func findShort(letter string) *flag {
	for i := range flags {
		if f := &flags[i]; f.short == letter {
			return f
		}
	}
	return nil
}
