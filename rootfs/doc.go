// Package rootfs describes what the root of a sandbox is made of: an ordered list of
// operations, each a plain value, and the checks that tell a good list from a bad one.
//
// A list begins with the root itself, a [Base] or a [Tmpfs] at "/", and goes on with what
// is put into it. Operations are carried out in order by whoever builds the root; a path
// inside the root is always resolved inside it. This package carries out nothing: it makes
// no mount and exports nothing that could, since a mount in the wrong process is a danger
// to the machine. Only [HostFacts] looks at the host, and it only looks.
//
// A [Volume] is a directory that outlives sandboxes, and a [Store] keeps the layers of images, which package
// rootfs/image unpacks.
//
// Whatever an operation mounts is mounted nosuid and nodev, and private: mount events
// cross in neither direction.
package rootfs
