package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
)

// ImageInspect returns one image. The builder's own images are invisible.
func (c *CLI) ImageInspect(ctx context.Context, ref string) (Image, error) {
	v := subcommand(ref, "image", "inspect")
	v.check(checkReference(ref))
	v.words(ref)
	out, err := c.do(ctx, call{argv: v, deadline: imageDeadline})
	if err != nil {
		return Image{}, err
	}
	// The program spells references out, so the only one is the one.
	return decodedOne(v, out, decodeImage, func(Image) bool { return true })
}

// ImageList returns all images.
func (c *CLI) ImageList(ctx context.Context) ([]Image, error) {
	v := subcommand("", "image", "list")
	v.option("format", "json")
	out, err := c.do(ctx, call{argv: v, deadline: imageDeadline})
	if err != nil {
		return nil, err
	}
	return decoded(v, out, decodeImage)
}

// ImageLoad loads an archive of an OCI layout and returns the references that
// the program says it loaded.
func (c *CLI) ImageLoad(ctx context.Context, path string) ([]string, error) {
	v := subcommand("", "image", "load")
	v.check(checkPath("the archive", path))
	v.option("input", path)
	out, err := c.do(ctx, call{argv: v, deadline: imageLoadDeadline, gate: c.gates.mutation})
	if err != nil {
		return nil, err
	}
	return references(out), nil
}

// ImageDelete removes one image.
func (c *CLI) ImageDelete(ctx context.Context, ref string) error {
	v := subcommand(ref, "image", "delete")
	v.check(checkReference(ref))
	v.words(ref)
	_, err := c.do(ctx, call{argv: v, deadline: deleteDeadline, gate: c.gates.mutation, stdout: io.Discard})
	return err
}

// references are the lines that can be references.
func references(out []byte) []string {
	var refs []string
	lines := bufio.NewScanner(bytes.NewReader(out))
	for lines.Scan() {
		if ref := strings.TrimSpace(lines.Text()); checkReference(ref) == nil {
			refs = append(refs, ref)
		}
	}
	return refs
}
