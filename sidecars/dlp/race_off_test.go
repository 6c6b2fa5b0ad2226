//go:build !race

package dlp

const underRace = false
