// Package image reads container images: OCI image layouts, as a folder or a tar archive, and
// the tar archives that `docker save` and its like write. It verifies them, gives out their
// layers, uncompressed, as streams, and unpacks them into a [rootfs.Store], from which sandboxes
// take them.
//
// All of an image is taken as hostile: its documents, its layers, and the folder or
// archive it lies in. A document or layer is used only if its size, digest and media type
// are what the document that names it says, and a layer only if what it uncompresses to has
// the digest that the configuration says (its diffID). Documents that can be read in more
// than one way are refused (CVE-2021-41190). Nothing from an image is executed.
package image
