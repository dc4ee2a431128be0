// Package tree works on folders whose content is hostile, through descriptors.
package tree
