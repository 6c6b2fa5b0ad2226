package cli

import (
	"encoding/json"
	"fmt"
)

// imageShape is an element of image list and inspect. Before 1.0.0 it was flat:
// name and index of inspect, reference and descriptor of list.
type imageShape struct {
	Configuration struct {
		Name         string          `json:"name"`
		Descriptor   descriptorShape `json:"descriptor"`
		CreationDate date            `json:"creationDate"`
	} `json:"configuration"`
	Name       string          `json:"name"`
	Reference  string          `json:"reference"`
	Index      descriptorShape `json:"index"`
	Descriptor descriptorShape `json:"descriptor"`
	Variants   []variantShape  `json:"variants"`
}

type descriptorShape struct {
	Digest string `json:"digest"`
}

type variantShape struct {
	Digest   string `json:"digest"`
	Platform struct {
		OS           string `json:"os"`
		Architecture string `json:"architecture"`
	} `json:"platform"`
	Config struct {
		Config struct {
			User   string            `json:"User"`
			Env    []string          `json:"Env"`
			Labels map[string]string `json:"Labels"`
		} `json:"config"`
	} `json:"config"`
}

func decodeImage(raw json.RawMessage) (Image, error) {
	var shape imageShape
	if err := object(raw, &shape); err != nil {
		return Image{}, err
	}
	img := Image{
		Reference: first(shape.Configuration.Name, shape.Name, shape.Reference),
		Digest:    digest(first(shape.Configuration.Descriptor.Digest, shape.Index.Digest, shape.Descriptor.Digest)),
		Created:   shape.Configuration.CreationDate.Time,
	}
	if img.Reference == "" || img.Digest == "" {
		return Image{}, fmt.Errorf("%w: it has no name or no digest", errAlien)
	}
	for _, v := range shape.Variants {
		cfg := v.Config.Config
		img.Variants = append(img.Variants, Variant{
			OS: v.Platform.OS, Architecture: v.Platform.Architecture, Digest: digest(v.Digest),
			User: cfg.User, Env: cfg.Env, Labels: cfg.Labels,
		})
	}
	return img, nil
}
