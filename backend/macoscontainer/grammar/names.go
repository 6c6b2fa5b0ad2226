package grammar

import (
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	ruleName  = "name"
	ruleLabel = "label"
)

// nameRules are the contract's rules for names and for numbers of things.
type nameRules struct {
	ContainerID  nameRule `json:"container_id"`
	Network      nameRule `json:"network"`
	Volume       nameRule `json:"volume"`
	MAC          nameRule `json:"network_attachment_mac"`
	NetworkLabel struct {
		KeyPattern *regexp.Regexp `json:"key_pattern"`
		KeyMax     int            `json:"key_max"`
		LabelMax   int            `json:"label_max"`
	} `json:"network_label"`
	MTU struct {
		Min     uint64 `json:"min"`
		Max     uint64 `json:"max"`
		Default uint64 `json:"default"`
	} `json:"mtu"`
	MemoryMin  int64 `json:"memory_min_bytes"`
	PublishMax int   `json:"publish_max_specs"`
}

// nameRule is the form of a name; a length of 0 is not checked.
type nameRule struct {
	Pattern  *regexp.Regexp `json:"pattern"`
	Min      int            `json:"min"`
	Max      int            `json:"max"`
	Reserved []string       `json:"reserved"`
}

func (r nameRule) check(what, name string) error {
	n := utf8.RuneCountInString(name)
	switch {
	case !r.Pattern.MatchString(name), n < r.Min, r.Max > 0 && n > r.Max:
		return failure(ruleName, codeInvalidArgument, "invalid "+what+" '"+name+"': must match "+r.Pattern.String())
	case slices.Contains(r.Reserved, name):
		return failure(ruleName, codeInvalidArgument, what+" '"+name+"' is reserved")
	}
	return nil
}

// CheckContainerID checks the name of a container, which is its id.
func CheckContainerID(id string) error { return load().Names.ContainerID.check("container ID", id) }

// CheckNetworkName checks the name of a network to create; the reserved ones
// can be attached to and not created.
func CheckNetworkName(name string) error { return load().Names.Network.check("network name", name) }

// CheckVolumeName checks the name of a volume.
func CheckVolumeName(name string) error { return load().Names.Volume.check("volume name", name) }

// CheckContainerLabel checks a label of a container: its value holds no '='.
func CheckContainerLabel(label string) error {
	_, _, err := containerLabel(label)
	return err
}

// CheckNetworkLabel checks a label of a network: its key is of a small
// alphabet, its value anything but empty, since "key=" is read as the key.
func CheckNetworkLabel(label string) error {
	_, _, err := networkLabel(label)
	return err
}

func containerLabel(label string) (key, value string, err error) {
	parts := splitNonEmpty(label, '=', 2)
	switch len(parts) {
	case 1:
		return parts[0], "", nil
	case 2:
		return parts[0], parts[1], nil
	default:
		return "", "", failure(ruleLabel, codeInvalidArgument, "invalid label format "+label)
	}
}

func networkLabel(label string) (key, value string, err error) {
	key, value = keyValue(label)
	rule := load().Names.NetworkLabel
	switch {
	case utf8.RuneCountInString(key) > rule.KeyMax:
		return "", "", failure(ruleLabel, codeInvalidArgument, "label key '"+key+"' is too long")
	case !rule.KeyPattern.MatchString(key):
		return "", "", failure(ruleLabel, codeInvalidArgument, "invalid label key '"+key+"'")
	case utf8.RuneCountInString(key+"="+value) > rule.LabelMax:
		return "", "", failure(ruleLabel, codeInvalidArgument, "label of key '"+key+"' is too long")
	}
	return key, value, nil
}

// keyValue is how the program reads key=value where it does not check: a pair
// without a value, also "key=", is a key as a whole.
func keyValue(pair string) (key, value string) {
	if parts := splitNonEmpty(pair, '=', 1); len(parts) == 2 {
		return parts[0], parts[1]
	}
	return pair, ""
}

// Labels are the labels that a command gives to what it makes, by the rules of
// that command.
func Labels(p Parsed) (map[string]string, error) {
	read := func(label string) (string, string, error) {
		key, value := keyValue(label)
		return key, value, nil
	}
	switch p.Command() {
	case "run", "create":
		read = containerLabel
	case "network create":
		read = networkLabel
	}
	labels := make(map[string]string, len(p.Options["label"]))
	for _, label := range p.Options["label"] {
		key, value, err := read(label)
		if err != nil {
			return nil, err
		}
		labels[key] = value
	}
	return labels, nil
}

// splitNonEmpty splits at most n times and leaves empty pieces out, which do
// not count as splits either: that is how the program splits everything, so
// "a==b" is a pair and "=a" a single piece. A negative n splits everywhere.
func splitNonEmpty(s string, sep byte, n int) []string {
	var pieces []string
	for len(pieces) != n {
		piece, rest, found := strings.Cut(s, string(sep))
		if !found {
			break
		}
		if piece != "" {
			pieces = append(pieces, piece)
		}
		s = rest
	}
	if s != "" {
		pieces = append(pieces, s)
	}
	return pieces
}
