// Package leaktest looks for what the tests of rootfs leave behind. The one of sandbox, which looks for more, is not for packages that stand alone.
package leaktest
