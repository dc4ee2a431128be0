// Package leaktest proves at the end of a package's tests that nothing of them is left: processes, mounts, cgroups,
// descriptors, goroutines and files in the temporary folder. Only tests import it.
package leaktest
