package grammar

import (
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// accepts says whether the program's parser takes a value for the option. What
// strings mean is looked at later, when the command runs.
func (o *option) accepts(value string) bool {
	switch o.ValueType {
	case "enum":
		return slices.Contains(o.Values, value)
	case "uint32":
		return isUnsigned(value, 32)
	case "int32":
		return isSigned(value, 32)
	case "int", "int64":
		return isSigned(value, 64)
	case "double":
		return isDouble(value)
	case "cidr4":
		prefix, err := netip.ParsePrefix(value)
		return err == nil && prefix.Addr().Is4()
	case "cidr6":
		prefix, err := netip.ParsePrefix(value)
		return err == nil && prefix.Addr().Is6()
	default:
		return true
	}
}

func isSigned(value string, bits int) bool {
	_, err := strconv.ParseInt(value, 10, bits)
	return err == nil
}

func isUnsigned(value string, bits int) bool {
	_, err := strconv.ParseUint(strings.TrimPrefix(value, "+"), 10, bits)
	return err == nil && !strings.HasPrefix(value, "++")
}

// isDouble leaves out what only Go reads as a number.
func isDouble(value string) bool {
	_, err := strconv.ParseFloat(value, 64)
	return err == nil && !strings.Contains(value, "_")
}
