package provider

import (
	"encoding/json"
	"errors"
	"time"
)

// Placeholder stands where the guest's programs look for a credential.
const Placeholder = "placeholder-the-credential-is-outside-of-this-bottle"

// claudeLogin is ~/.claude/.credentials.json, as far as it is needed.
type claudeLogin struct {
	OAuth *struct {
		AccessToken      string   `json:"accessToken"`
		ExpiresAt        int64    `json:"expiresAt"` // milliseconds
		Scopes           []string `json:"scopes"`
		SubscriptionType string   `json:"subscriptionType"`
		RateLimitTier    string   `json:"rateLimitTier"`
	} `json:"claudeAiOauth"`
}

// readClaude takes the login apart. The guest's file has no refresh token: a
// program there could not use one, since only the API's host can be reached.
func readClaude(data []byte) (HostLogin, error) {
	var in claudeLogin
	if json.Unmarshal(data, &in) != nil {
		return HostLogin{}, errForeign
	}
	o := in.OAuth
	switch {
	case o == nil || o.AccessToken == "":
		return HostLogin{}, errors.New("it holds no login of a Claude account")
	case o.ExpiresAt <= 0:
		return HostLogin{}, errForeign
	}
	scopes := []any{}
	for _, s := range o.Scopes[:min(len(o.Scopes), maxScopes)] {
		if fact(s) {
			scopes = append(scopes, s)
		}
	}
	guest := map[string]any{
		"accessToken": Placeholder, "refreshToken": Placeholder, "expiresAt": o.ExpiresAt, "scopes": scopes,
	}
	for name, value := range map[string]string{"subscriptionType": o.SubscriptionType, "rateLimitTier": o.RateLimitTier} {
		if value != "" && fact(value) {
			guest[name] = value
		}
	}
	text, err := encodeJSON(map[string]any{"claudeAiOauth": guest})
	if err != nil {
		return HostLogin{}, errForeign
	}
	token, err := wrapToken(o.AccessToken)
	return HostLogin{
		Token: token, Expires: time.UnixMilli(o.ExpiresAt),
		placeholder: File{Content: string(text)}, placeholders: []string{Placeholder},
	}, err
}
