package shape

import "encoding/json"

// Image is an element of image list and image inspect.
type Image struct {
	ID            string             `json:"id"` // hex, without "sha256:"
	Configuration ImageConfiguration `json:"configuration"`
	Variants      []Variant          `json:"variants"`
}

// ImageConfiguration is an image by name.
type ImageConfiguration struct {
	Name         string     `json:"name"`
	Descriptor   Descriptor `json:"descriptor"`
	CreationDate string     `json:"creationDate"`
}

// Variant is an image for one platform.
type Variant struct {
	Platform Platform        `json:"platform"`
	Digest   string          `json:"digest"`
	Size     int64           `json:"size"`
	Config   json.RawMessage `json:"config"` // the OCI image configuration
}
