package provider

import (
	"encoding/json"
	"errors"
	"time"
)

// codexLogin is ~/.codex/auth.json, as far as it is needed.
type codexLogin struct {
	AuthMode    string `json:"auth_mode"`
	APIKey      string `json:"OPENAI_API_KEY"`
	LastRefresh string `json:"last_refresh"`
	Tokens      *struct {
		IDToken     string `json:"id_token"`
		AccessToken string `json:"access_token"`
		AccountID   string `json:"account_id"`
	} `json:"tokens"`
}

// codexClaims are the claims of its tokens that the program itself reads. The
// person's name and address are left out: nothing needs them.
type codexClaims struct {
	Expires int64 `json:"exp"`
	Auth    struct {
		Plan    string `json:"chatgpt_plan_type"`
		User    string `json:"chatgpt_user_id"`
		Account string `json:"chatgpt_account_id"`
	} `json:"https://api.openai.com/auth"`
}

// readCodex takes the login apart. Codex parses the tokens of its file as JWTs
// and renews them by the time in them, so the guest's have the same form, the
// real time and the real account, and no signature.
func readCodex(data []byte) (HostLogin, error) {
	var in codexLogin
	if json.Unmarshal(data, &in) != nil {
		return HostLogin{}, errForeign
	}
	t := in.Tokens
	if t == nil || t.AccessToken == "" {
		if in.APIKey != "" {
			return HostLogin{}, errors.New("it is an API key and no login of an account; name a host variable that holds the key in agent_provider.auth_token instead")
		}
		return HostLogin{}, errors.New("it holds no login of a ChatGPT account")
	}
	var access, id codexClaims
	if err := claimsOf(t.AccessToken, &access); err != nil || access.Expires <= 0 {
		return HostLogin{}, errForeign
	}
	if err := claimsOf(t.IDToken, &id); err != nil {
		return HostLogin{}, errForeign
	}
	stand, err := unsignedToken(map[string]any{"exp": access.Expires, "https://api.openai.com/auth": id.known()})
	if err != nil {
		return HostLogin{}, errForeign
	}
	text, err := codexPlaceholder(in, stand)
	if err != nil {
		return HostLogin{}, errForeign
	}
	token, err := wrapToken(t.AccessToken)
	return HostLogin{
		Token: token, Expires: time.Unix(access.Expires, 0),
		placeholder: File{Content: string(text)}, placeholders: []string{stand, Placeholder},
	}, err
}

// known are the claims that the guest's tokens get.
func (c codexClaims) known() map[string]any {
	out := map[string]any{}
	for name, value := range map[string]string{
		"chatgpt_plan_type": c.Auth.Plan, "chatgpt_user_id": c.Auth.User, "chatgpt_account_id": c.Auth.Account,
	} {
		if value != "" && fact(value) {
			out[name] = value
		}
	}
	return out
}

func codexPlaceholder(in codexLogin, token string) ([]byte, error) {
	tokens := map[string]any{"id_token": token, "access_token": token, "refresh_token": Placeholder}
	if in.Tokens.AccountID != "" && fact(in.Tokens.AccountID) {
		tokens["account_id"] = in.Tokens.AccountID
	}
	out := map[string]any{"OPENAI_API_KEY": nil, "tokens": tokens}
	if in.AuthMode != "" && fact(in.AuthMode) {
		out["auth_mode"] = in.AuthMode
	}
	if _, err := time.Parse(time.RFC3339Nano, in.LastRefresh); err == nil {
		out["last_refresh"] = in.LastRefresh
	}
	return encodeJSON(out)
}
