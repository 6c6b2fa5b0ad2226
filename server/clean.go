package server

import (
	"strings"
	"unicode"

	"github.com/mark3labs/mcp-go/mcp"
)

// cleanText neutralises control characters: a terminal that shows a result
// must not obey the guest that wrote it. Line breaks and tabs stay.
func cleanText(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unicode.IsControl(r) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// cleanContent applies cleanText to a result's text blocks. Handlers clean what
// they know to be hostile; this holds for what they forgot.
func cleanContent(content []mcp.Content) []mcp.Content {
	for i, block := range content {
		if text, ok := block.(mcp.TextContent); ok {
			text.Text = cleanText(text.Text)
			content[i] = text
		}
	}
	return content
}
