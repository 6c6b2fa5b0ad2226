package dlp

import "slices"

// rules are all kinds of credentials that are recognised. Each pattern was
// written from what the vendor publishes about its format.
//
// What is excused on purpose: values without randomness (leastEntropy), AWS's,
// Stripe's and RFC 7617's documented examples, and the placeholders of this bottle. No
// word and no file's name excuses a match that acts: the one who writes the text
// is the one who would use them.
func rules() []rule {
	return slices.Concat(
		forgeRules(), registryRules(), cloudRules(), hostingRules(), modelRules(), modelToolRules(),
		messagingRules(), paymentRules(), observeRules(), buildRules(), workRules(), keyRules(), namedRules(), genericRules(), carrierRules(),
	)
}

// forgeRules are of places that hold source code.
func forgeRules() []rule {
	return []rule{
		// https://github.blog/2021-04-05-behind-githubs-new-authentication-token-formats/
		{kind: "github_pat", pattern: `ghp_[A-Za-z0-9]{36}`, check: crcBase62},
		{kind: "github_oauth", pattern: `gho_[A-Za-z0-9]{36}`, check: crcBase62},
		{kind: "github_user_to_server", pattern: `ghu_[A-Za-z0-9]{36}`, check: crcBase62},
		{kind: "github_server_to_server", pattern: `ghs_[A-Za-z0-9]{36}`, check: crcBase62},
		{kind: "github_refresh", pattern: `ghr_[A-Za-z0-9]{36,76}`, check: crcBase62},
		{kind: "github_fine_grained_pat", pattern: `github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}`},
		// https://docs.gitlab.com/security/tokens/#token-prefixes
		{kind: "gitlab_pat", pattern: `glpat-[\w-]{20,300}`},
		{kind: "gitlab_deploy_token", pattern: `gldt-[\w-]{20,64}`},
		{kind: "gitlab_runner", pattern: `glrt-[\w-]{20,64}`},
		{kind: "gitlab_runner_registration", pattern: `GR1348941[\w-]{20}`},
		{kind: "gitlab_ci_job", pattern: `glcbt-[\w-]{20,400}`},
		{kind: "gitlab_trigger", pattern: `glptt-[\w-]{20,64}`},
		{kind: "gitlab_feed", pattern: `glft-[\w-]{20,64}`},
		{kind: "gitlab_incoming_mail", pattern: `glimt-[\w-]{20,64}`},
		{kind: "gitlab_agent", pattern: `glagent-[\w-]{40,64}`},
		{kind: "gitlab_oauth_secret", pattern: `gloas-[\w-]{32,64}`},
		{kind: "gitlab_scim", pattern: `glsoat-[\w-]{20,64}`},
		// https://support.atlassian.com/bitbucket-cloud/docs/app-passwords/
		{kind: "bitbucket_app_password", pattern: `ATBB[A-Za-z0-9]{32}`},
		{kind: "bitbucket_access_token", pattern: `ATCTT3xFfG[\w-]{60,250}(?:=[A-F0-9]{8})?`},
		{kind: "sourcegraph", pattern: `sgp_(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}`},
	}
}

// registryRules are of places that hold packages and images.
func registryRules() []rule {
	return []rule{
		// https://github.blog/changelog/2021-09-23-npm-has-a-new-access-token-format/
		{kind: "npm_token", pattern: `npm_[A-Za-z0-9]{36}`, check: crcBase62},
		// https://pypi.org/help/#apitoken: a macaroon, its location first
		{kind: "pypi_token", pattern: `pypi-AgEIcHlwaS5vcmc[\w-]{50,1000}`},
		{kind: "pypi_test_token", pattern: `pypi-AgENdGVzdC5weXBpLm9yZ[\w-]{50,1000}`},
		{kind: "rubygems_key", pattern: `rubygems_[0-9a-f]{48}`},
		{kind: "crates_io_token", pattern: `cio[A-Za-z0-9]{32}`, entropy: 4},
		{kind: "nuget_key", pattern: `oy2[a-z0-9]{43}`, entropy: 3.8},
		{kind: "dockerhub_pat", pattern: `dckr_pat_[\w-]{27}`},
		{kind: "dockerhub_org_token", pattern: `dckr_oat_[\w-]{32}`},
		{kind: "jfrog_key", pattern: `AKCp[A-Za-z0-9]{69}`},
		{kind: "jfrog_reference_token", pattern: `cmVmdGtu[A-Za-z0-9]{56}`},
		{kind: "clojars_token", pattern: `CLOJARS_[a-z0-9]{60}`},
		{kind: "packagist_token", pattern: `packagist_[ou][ru][sut]_[0-9a-f]{68}`},
		{kind: "cloudsmith_key", key: "cloudsmithapikey", pattern: `[0-9a-f]{40}`},
	}
}
