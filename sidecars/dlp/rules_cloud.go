package dlp

// cloudRules are of large clouds.
func cloudRules() []rule {
	return []rule{
		// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_identifiers.html
		{kind: "aws_access_key_id", pattern: `(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}`, glued: true, entropy: 3, check: notExample},
		{kind: "aws_bedrock_key", pattern: `ABSK[A-Za-z0-9+/]{109,269}={0,2}`},
		{kind: "aws_secret_key", key: "awssecretaccesskey", pattern: `[A-Za-z0-9/+]{40}`, entropy: 4, check: notExample},
		{kind: "aws_secret_key", key: "awssecretkey", pattern: `[A-Za-z0-9/+]{40}`, entropy: 4, check: notExample},
		{kind: "aws_secret_key", key: "secretaccesskey", pattern: `[A-Za-z0-9/+]{40}`, entropy: 4, check: notExample},
		{kind: "aws_session_token", key: "sessiontoken", pattern: `[A-Za-z0-9/+]{100,1000}={0,2}`, entropy: 4},
		{kind: "aws_mws_token", pattern: `amzn\.mws\.[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		// https://cloud.google.com/docs/authentication/api-keys
		{kind: "google_api_key", pattern: `AIza[\w-]{35}`, entropy: 3.5},
		{kind: "google_oauth_token", pattern: `ya29\.[\w-]{30,1000}`},
		{kind: "google_oauth_secret", pattern: `GOCSPX-[\w-]{28}`},
		{kind: "google_refresh_token", pattern: `1//0[\w-]{40,120}`, entropy: 3.8},
		{kind: "google_service_account_key_id", key: "privatekeyid", pattern: `[0-9a-f]{40}`},
		{kind: "google_hmac_key", pattern: `GOOG1E[A-Z0-9]{55}`},
		// https://learn.microsoft.com/purview/sit-defn-azure-ad-client-secret
		{kind: "azure_client_secret", before: `[\w~.-]{3}[0-9]`, pattern: `Q~[\w~.-]{31,34}`, entropy: 3.5},
		{kind: "azure_storage_key", key: "accountkey", pattern: `[A-Za-z0-9+/]{86}==`, entropy: 4},
		{kind: "azure_signed_key", before: `[A-Za-z0-9+/]{76}`, pattern: `\+ASt[A-Za-z0-9+/]{6}==`, glued: true},
		{kind: "azure_cosmos_key", before: `[A-Za-z0-9+/]{76}`, pattern: `ACDb[A-Za-z0-9+/]{6}==`, glued: true},
		{kind: "azure_common_key", before: `[A-Za-z0-9]{52}`, pattern: `JQQJ99[A-Za-z0-9]{26}`, glued: true},
		{kind: "azure_devops_pat", before: `[A-Za-z0-9]{76}`, pattern: `AZDO[A-Za-z0-9]{4}`, glued: true},
		{kind: "azure_function_key", before: `[\w-]{44}`, pattern: `AzFu[\w-]{5}[AQgw]==`, glued: true},
		{kind: "azure_search_key", before: `[A-Za-z0-9]{42}`, pattern: `AzSe[A-D][A-Za-z0-9]{5}`, glued: true},
		{kind: "azure_sas", pattern: `(?:\?|&|&amp;)sig=[A-Za-z0-9%/+]{43,66}`, entropy: 4},
		{kind: "azure_shared_access_key", key: "sharedaccesskey", pattern: `[A-Za-z0-9+/]{43}=`, entropy: 4},
		{kind: "alibaba_access_key_id", pattern: `LTAI[A-Za-z0-9]{16,26}`, entropy: 3.5},
		{kind: "tencent_secret_id", pattern: `AKID[A-Za-z0-9]{32}`, entropy: 3.8},
		{kind: "yandex_key", pattern: `AQVN[\w-]{35,38}`, entropy: 3.8},
		{kind: "ibm_cloud_key", key: "ibmcloudapikey", pattern: `[\w-]{44}`, entropy: 4},
	}
}

// hostingRules are of places that run programs and serve sites.
func hostingRules() []rule {
	const uuid = `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`
	return []rule{
		{kind: "digitalocean_token", pattern: `do[opr]_v1_[0-9a-f]{64}`},
		{kind: "heroku_key", pattern: `HRKU-AA[\w-]{58}`},
		{kind: "heroku_key", key: "herokuapikey", pattern: uuid},
		// https://developers.cloudflare.com/fundamentals/api/
		{kind: "cloudflare_token", key: "cloudflareapitoken", pattern: `[\w-]{40}`, entropy: 3.5},
		{kind: "cloudflare_token", key: "cftoken", pattern: `[\w-]{40}`, entropy: 3.5},
		{kind: "cloudflare_global_key", key: "cloudflareapikey", pattern: `[0-9a-f]{37}`},
		{kind: "cloudflare_token", pattern: `cf(?:ut|at|k)_[A-Za-z0-9]{40}[0-9a-f]{8}`},
		{kind: "cloudflare_origin_ca", pattern: `v1\.0-[0-9a-f]{24}-[0-9a-f]{146}`},
		{kind: "supabase_token", pattern: `sbp_[0-9a-f]{40}`},
		{kind: "supabase_secret_key", pattern: `sb_secret_[\w-]{20,60}`},
		{kind: "vercel_token", pattern: `vc[akpir]_[A-Za-z0-9]{56,64}`},
		{kind: "vercel_token", key: "verceltoken", pattern: `[A-Za-z0-9]{24}`, entropy: 3.5},
		{kind: "netlify_token", pattern: `nf[pcobu]_[A-Za-z0-9]{36}`},
		{kind: "fly_token", pattern: `fo1_[\w-]{43}`},
		{kind: "fly_macaroon", pattern: `fm[12][ar]?_[A-Za-z0-9+/]{100,1000}={0,3}`},
		{kind: "render_key", pattern: `rnd_[A-Za-z0-9]{28,40}`, entropy: 3.5},
		{kind: "railway_token", key: "railwaytoken", pattern: uuid},
		{kind: "planetscale_token", pattern: `pscale_(?:tkn|pw|oauth)_[\w.=-]{32,64}`},
		{kind: "neon_key", pattern: `napi_[a-z0-9]{60,70}`},
		{kind: "tailscale_key", pattern: `tskey-(?:auth|api|client|scim|webhook)-[A-Za-z0-9]{8,20}-[A-Za-z0-9]{20,40}`},
		{kind: "scaleway_secret", key: "scwsecretkey", pattern: uuid},
		{kind: "hetzner_token", key: "hcloudtoken", pattern: `[A-Za-z0-9]{64}`, entropy: 4},
		{kind: "linode_token", key: "linodetoken", pattern: `[0-9a-f]{64}`},
		{kind: "ngrok_token", key: "ngrokauthtoken", pattern: `[A-Za-z0-9_]{40,60}`, entropy: 4},
		{kind: "mongodb_atlas_key", pattern: `mdb_sa_sk_[\w-]{40}`},
		{kind: "cloudinary_url", pattern: `cloudinary://[0-9]{10,20}:[\w-]{20,40}@`},
	}
}
