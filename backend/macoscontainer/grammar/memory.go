package grammar

import (
	"math"
	"strconv"
	"strings"
)

const ruleMemory = "memory"

// ParseMemory reads a size in bytes as --memory and its like do: a decimal
// number with a binary unit, or with none for bytes. The memory of a container
// is cut to whole MiB afterwards.
func ParseMemory(size string) (int64, error) {
	invalid := failure(ruleMemory, codeInvalidArgument, "invalid size "+strconv.Quote(size))
	text := strings.ToLower(strings.Trim(size, " \t"))
	digits := len(text) - len(strings.TrimLeft(text, "0123456789."))
	number, err := strconv.ParseFloat(text[:digits], 64)
	if err != nil {
		return 0, invalid
	}
	unit := strings.TrimLeft(text[digits:], " \t")
	if unit == "" {
		unit = "b"
	}
	power := strings.IndexByte("bkmgtp", unit[0])
	if rest := unit[1:]; power < 0 || rest != "" && rest != "b" && rest != "ib" {
		return 0, invalid
	}
	bytes := number * math.Pow(1024, float64(power))
	if bytes >= math.MaxInt64 {
		return 0, invalid
	}
	return int64(bytes), nil
}

// checkContainerMemory adds the least that the program gives to a container.
func checkContainerMemory(size string) error {
	bytes, err := ParseMemory(size)
	if err != nil {
		return err
	}
	const mebibyte = 1 << 20
	if least := load().Names.MemoryMin; bytes/mebibyte*mebibyte < least {
		return failure(ruleMemory, codeInvalidArgument, "minimum memory amount allowed is "+strconv.FormatInt(least/mebibyte, 10)+" MiB")
	}
	return nil
}

func checkMemory(size string) error {
	_, err := ParseMemory(size)
	return err
}
