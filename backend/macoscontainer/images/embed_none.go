//go:build !bottle_twin

package images

// embeddedTwin is empty: only release builds carry their linux twin.
const embeddedTwin = ""
