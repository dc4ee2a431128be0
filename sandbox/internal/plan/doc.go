// Package plan describes a set-up as data: an ordered list of named system calls with their arguments.
//
// A plan is compiled in the host program, can be printed and compared before anything runs, travels to the zygote as
// bytes, and is walked there by package launch. Arguments refer to constants, to a data area that travels with the
// plan, or to registers which hold results of earlier steps (mostly descriptors). An errno of a step comes back with the
// step's index, so an error can name stage, call and object.
package plan
