package dlp

// messagingRules are of mail, chat and telephony.
func messagingRules() []rule {
	return []rule{
		// https://api.slack.com/authentication/token-types
		{kind: "slack_token", pattern: `xox[abeoprs]-[A-Za-z0-9-]{20,160}`, entropy: 2.8},
		{kind: "slack_rotating_token", pattern: `xoxe\.xox[bp]-[0-9]-[A-Za-z0-9]{140,180}`},
		{kind: "slack_session", pattern: `xox[cd]-[\w%-]{40,400}`},
		{kind: "slack_app_token", pattern: `xapp-[0-9]-[A-Z0-9]{9,14}-[0-9]{10,14}-[0-9a-f]{64}`},
		{kind: "slack_webhook", pattern: `hooks\.slack\.com/(?:services|workflows|triggers)/[A-Z0-9]{8,12}/[A-Z0-9]{8,20}/[A-Za-z0-9]{20,40}`},
		// https://discord.com/developers/docs/reference#authentication: id, time, signature
		{kind: "discord_bot_token", pattern: `(?:M[TJzDT]|N[TDjz]|OD|O[DT])[\w-]{21,26}\.[\w-]{6}\.[\w-]{27,40}`, entropy: 4},
		{kind: "discord_webhook", pattern: `discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/[\w-]{60,70}`},
		// https://core.telegram.org/bots/api#authorizing-your-bot
		{kind: "telegram_bot_token", before: `[0-9]{8,10}`, pattern: `:AA[\w-]{33}`, entropy: 4},
		{kind: "twilio_api_key", pattern: `SK[0-9a-f]{32}`, entropy: 3},
		{kind: "twilio_auth_token", key: "twilioauthtoken", pattern: `[0-9a-f]{32}`},
		{kind: "sendgrid_key", pattern: `SG\.[\w-]{22}\.[\w-]{43}`},
		{kind: "mailgun_key", pattern: `key-[0-9a-f]{32}`, entropy: 3},
		{kind: "mailgun_key", key: "mailgunapikey", pattern: `[0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8}`},
		{kind: "mailchimp_key", before: `[0-9a-f]{32}`, pattern: `-us[0-9]{1,2}`, entropy: 3},
		{kind: "mandrill_key", pattern: `md-[\w-]{22}`, entropy: 3.7},
		{kind: "brevo_key", pattern: `xkeysib-[0-9a-f]{64}-[A-Za-z0-9]{16}`},
		{kind: "brevo_smtp_key", pattern: `xsmtpsib-[0-9a-f]{64}-[A-Za-z0-9]{16}`},
		{kind: "resend_key", pattern: `re_[A-Za-z0-9]{8}_[A-Za-z0-9]{24}`, entropy: 4},
		{kind: "postmark_token", key: "postmarkservertoken", pattern: `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{kind: "facebook_token", pattern: `EAA[A-Za-z0-9]{80,400}`},
		{kind: "twitter_bearer", pattern: `AAAAAAAAAAAAAAAAAAAAA[A-Za-z0-9%]{60,140}`, word: true, entropy: 4},
		{kind: "teams_webhook", pattern: `webhook\.office\.com/webhookb2/[0-9a-f-]{36}@[0-9a-f-]{36}/IncomingWebhook/[0-9a-f]{32}/[0-9a-f-]{36}`},
		{kind: "line_token", key: "linechannelaccesstoken", pattern: `[A-Za-z0-9+/]{100,200}={0,2}`},
	}
}

// paymentRules are of money and shops.
func paymentRules() []rule {
	return []rule{
		// https://docs.stripe.com/keys
		{kind: "stripe_secret_key", pattern: `sk_(?:live|test)_[A-Za-z0-9]{16,200}`, entropy: 3, check: notExample},
		{kind: "stripe_restricted_key", pattern: `rk_(?:live|test)_[A-Za-z0-9]{16,200}`, entropy: 3},
		{kind: "stripe_webhook_secret", pattern: `whsec_[A-Za-z0-9+/=]{24,80}`, entropy: 3},
		{kind: "shopify_token", pattern: `shp(?:at|ca|pa|ss|tka)_[0-9a-fA-F]{32}`},
		{kind: "square_token", pattern: `EAAA[\w-]{60}`},
		{kind: "square_secret", pattern: `sq0(?:csp|atp|idp)-[\w-]{22,43}`},
		{kind: "braintree_token", pattern: `access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}`},
		{kind: "plaid_token", pattern: `access-(?:sandbox|development|production)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{kind: "adyen_key", key: "adyenapikey", pattern: `AQE[\w+/-]{80,200}={0,2}`, entropy: 4.3},
		{kind: "gocardless_token", pattern: `live_[\w-]{40}`, entropy: 4.3},
		{kind: "flutterwave_key", pattern: `FLWSECK(?:_TEST)?-[0-9a-f]{12,32}-X`},
		{kind: "easypost_key", pattern: `EZ[AT]K[A-Za-z0-9]{54}`},
		{kind: "shippo_token", pattern: `shippo_(?:live|test)_[0-9a-f]{40}`},
		{kind: "duffel_token", pattern: `duffel_(?:live|test)_[\w=-]{43}`},
		{kind: "paypal_secret", key: "paypalclientsecret", pattern: `[\w-]{80}`, entropy: 4},
	}
}

// observeRules are of monitoring.
func observeRules() []rule {
	return []rule{
		// https://grafana.com/docs/grafana/latest/administration/service-accounts/
		{kind: "grafana_service_account", pattern: `glsa_[A-Za-z0-9]{32}_[0-9a-f]{8}`, check: crcHexTail},
		{kind: "grafana_cloud_token", pattern: `glc_[A-Za-z0-9+/]{40,400}={0,2}`},
		{kind: "newrelic_key", pattern: `NRAK-[A-Z0-9]{27}`},
		{kind: "newrelic_insert_key", pattern: `NRII-[\w-]{32}`},
		{kind: "newrelic_license", before: `[0-9a-f]{36}`, pattern: `NRAL`},
		{kind: "newrelic_license", before: `[0-9a-f]{32}`, pattern: `FFFFNRAL`},
		{kind: "datadog_api_key", key: "ddapikey", pattern: `[0-9a-f]{32}`},
		{kind: "datadog_api_key", key: "datadogapikey", pattern: `[0-9a-f]{32}`},
		{kind: "datadog_app_key", key: "ddapplicationkey", pattern: `[0-9a-f]{40}`},
		{kind: "datadog_app_key", key: "ddappkey", pattern: `[0-9a-f]{40}`},
		{kind: "datadog_app_key", key: "datadogappkey", pattern: `[0-9a-f]{40}`},
		{kind: "datadog_app_key", pattern: `ddapp_[A-Za-z0-9]{34}`},
		{kind: "sentry_org_token", pattern: `sntrys_eyJ[A-Za-z0-9+/=_-]{60,500}`},
		{kind: "sentry_user_token", pattern: `sntryu_[0-9a-f]{64}`},
		{kind: "dynatrace_token", pattern: `dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{64}`},
		{kind: "honeycomb_key", pattern: `hc[abx][il]k_[a-z0-9]{58,64}`},
		{kind: "pagerduty_key", key: "pagerdutytoken", pattern: `[\w+-]{20}`, entropy: 3.5},
		{kind: "posthog_key", pattern: `phx_[A-Za-z0-9]{43,50}`},
		{kind: "logzio_token", key: "logziotoken", pattern: `[A-Za-z]{32}`, entropy: 3.8},
		{kind: "axiom_token", pattern: `xa[ap]t-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
	}
}
