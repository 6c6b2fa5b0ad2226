//go:build race

package dlp

// underRace: the corpus has no concurrency in it and takes minutes there.
const underRace = true
