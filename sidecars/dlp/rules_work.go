package dlp

// buildRules are of builds, infrastructure and where secrets are kept.
func buildRules() []rule {
	return []rule{
		// https://developer.hashicorp.com/vault/docs/concepts/tokens
		{kind: "vault_service_token", pattern: `hvs\.[\w-]{24,200}`, entropy: 3.5},
		{kind: "vault_batch_token", pattern: `hvb\.[\w-]{90,300}`, entropy: 3.5},
		{kind: "vault_recovery_token", pattern: `hvr\.[\w-]{24,100}`, entropy: 3.5},
		{kind: "terraform_token", before: `[A-Za-z0-9]{14}`, pattern: `\.atlasv1\.[A-Za-z0-9=_-]{60,70}`},
		{kind: "databricks_token", pattern: `dapi[0-9a-f]{32}(?:-[0-9])?`},
		{kind: "databricks_secret", pattern: `dose[0-9a-f]{32}`},
		{kind: "doppler_token", pattern: `dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{40,70}`, entropy: 3.5},
		{kind: "pulumi_token", pattern: `pul-[0-9a-f]{40}`},
		{kind: "infracost_key", pattern: `ico-[A-Za-z0-9]{32}`, entropy: 3.5},
		{kind: "infisical_token", pattern: `st\.[0-9a-f]{24}\.[0-9a-f]{32}\.[0-9a-f]{32}`},
		{kind: "circleci_token", pattern: `CCI(?:PAT|PRJ)_[A-Za-z0-9]{20,24}_[0-9a-f]{40}`},
		{kind: "buildkite_token", pattern: `bkua_[0-9a-f]{40}`},
		{kind: "sonarqube_token", pattern: `sq[uap]_[0-9a-f]{40}`},
		{kind: "snyk_token", key: "snyktoken", pattern: `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{kind: "codecov_token", key: "codecovtoken", pattern: `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{kind: "prefect_key", pattern: `pn[ub]_[a-z0-9]{36}`, entropy: 3.8},
		{kind: "onepassword_service_account", pattern: `ops_eyJ[A-Za-z0-9+/]{250,1000}={0,3}`},
		{kind: "onepassword_secret_key", pattern: `A3-[A-Z0-9]{6}-[A-Z0-9]{6}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}`},
		{kind: "openshift_token", pattern: `sha256~[\w-]{43}`},
		{kind: "deno_token", pattern: `dd[pow]_[A-Za-z0-9]{36}`, entropy: 3.8},
		{kind: "nixos_cachix_token", key: "cachixauthtoken", pattern: `eyJ[\w.-]{60,1000}`},
	}
}

// workRules are of places where people work together.
func workRules() []rule {
	return []rule{
		{kind: "atlassian_token", pattern: `ATATT3[\w-]{60,250}(?:=[A-F0-9]{8})?`},
		{kind: "trello_token", pattern: `ATTA[0-9a-f]{64}`},
		{kind: "linear_key", pattern: `lin_api_[A-Za-z0-9]{40}`},
		{kind: "linear_oauth", pattern: `lin_oauth_[0-9a-f]{64}`},
		{kind: "notion_secret", pattern: `secret_[A-Za-z0-9]{43}`},
		{kind: "notion_token", pattern: `ntn_[A-Za-z0-9]{46}`},
		{kind: "figma_token", pattern: `fig[doru]_[\w-]{40,80}`, entropy: 3.5},
		{kind: "postman_key", pattern: `PMAK-[0-9a-f]{24}-[0-9a-f]{34}`},
		{kind: "airtable_pat", pattern: `pat[A-Za-z0-9]{14}\.[0-9a-f]{64}`},
		{kind: "asana_token", pattern: `[12]/[0-9]{14,17}(?:/[0-9]{14,17})?:[0-9a-f]{32}`},
		{kind: "dropbox_token", pattern: `sl\.(?:u\.)?[\w-]{100,}`},
		{kind: "hubspot_token", pattern: `pat-(?:na|eu|ap)[0-9]-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{kind: "typeform_token", pattern: `tfp_[\w.=-]{59}`},
		{kind: "contentful_token", pattern: `CFPAT-[\w-]{43}`},
		{kind: "frameio_token", pattern: `fio-u-[\w=-]{64}`},
		{kind: "readme_key", pattern: `rdme_[a-z0-9]{60,72}`},
		{kind: "mapbox_secret_token", pattern: `sk\.eyJ[\w-]{60,160}\.[\w-]{20,30}`},
		{kind: "salesforce_token", pattern: `00D[A-Za-z0-9]{12,15}![\w.]{80,120}`},
		{kind: "okta_token", key: "oktaapitoken", pattern: `00[\w-]{40}`, entropy: 4},
		{kind: "okta_token", pattern: `SSWS[ +]00[\w-]{40}`},
		{kind: "auth0_secret", key: "auth0clientsecret", pattern: `[\w-]{64}`, entropy: 4.3},
		{kind: "clerk_secret", key: "clerksecretkey", pattern: `sk_(?:live|test)_[A-Za-z0-9]{40,60}`},
		{kind: "zendesk_token", key: "zendeskapitoken", pattern: `[A-Za-z0-9]{40}`, entropy: 4},
		{kind: "intercom_token", key: "intercomaccesstoken", pattern: `[A-Za-z0-9+/_-]{58,60}={0,2}`, entropy: 4},
	}
}
