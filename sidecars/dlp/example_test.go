package dlp_test

import (
	"encoding/base64"
	"fmt"

	"github.com/bottle-mcp/bottle-mcp/sidecars/dlp"
	"github.com/bottle-mcp/bottle-mcp/sidecars/secret"
)

// A body is scanned as it arrives. What lies before Safe can be sent on.
func Example() {
	password := "correct-horse-battery-staple"
	scanner, err := dlp.New(dlp.Options{Known: []dlp.Known{{Name: "DB_PASSWORD", Value: secret.New(password)}}})
	if err != nil {
		fmt.Println(err)
		return
	}
	stream := scanner.Stream(dlp.StreamOptions{Field: dlp.Body})
	var found []dlp.Finding
	for _, chunk := range []string{`{"text": "`, base64.StdEncoding.EncodeToString([]byte("it is " + password)), `"}`} {
		found = append(found, stream.Write([]byte(chunk))...)
	}
	found = append(found, stream.Close()...)
	fmt.Println(found[0].Detector, found[0].Name, dlp.Decide(found, dlp.OnMatchBlock))
	// Output: known_secrets DB_PASSWORD refuse
}
