package dlp

// modelRules are of those who serve language models.
func modelRules() []rule {
	return []rule{
		// https://platform.openai.com/docs/api-reference/authentication
		{kind: "openai_key", before: `sk-[A-Za-z0-9]{20}`, pattern: `T3BlbkFJ[A-Za-z0-9]{20}`},
		{kind: "openai_project_key", pattern: `sk-(?:proj|svcacct|admin|None)-[\w-]{40,250}`, entropy: 3.8},
		// https://docs.anthropic.com/en/api/overview
		{kind: "anthropic_key", pattern: `sk-ant-api[0-9]{2}-[\w-]{80,120}`},
		{kind: "anthropic_admin_key", pattern: `sk-ant-admin[0-9]{2}-[\w-]{80,120}`},
		{kind: "anthropic_oauth", pattern: `sk-ant-(?:oat|ort|sid)[0-9]{2}-[\w-]{60,160}`},
		{kind: "openrouter_key", pattern: `sk-or-v1-[0-9a-f]{64}`},
		{kind: "deepseek_key", pattern: `sk-[0-9a-f]{32}`, entropy: 3},
		{kind: "huggingface_token", pattern: `hf_[A-Za-z0-9]{34,40}`, entropy: 3.8},
		{kind: "huggingface_org_token", pattern: `api_org_[A-Za-z0-9]{34}`},
		{kind: "replicate_token", pattern: `r8_[A-Za-z0-9]{37}`, entropy: 3.8},
		{kind: "groq_key", pattern: `gsk_[A-Za-z0-9]{52}`},
		{kind: "xai_key", pattern: `xai-[A-Za-z0-9]{80}`},
		{kind: "perplexity_key", pattern: `pplx-[A-Za-z0-9]{48}`},
		{kind: "together_key", pattern: `tgp_v1_[\w-]{43}`},
		{kind: "fireworks_key", pattern: `fw_[A-Za-z0-9]{22,24}`, entropy: 3.8},
		{kind: "cerebras_key", pattern: `csk-[a-z0-9]{48}`},
		{kind: "nvidia_key", pattern: `nvapi-[\w-]{60,70}`},
		{kind: "stability_or_elevenlabs_key", pattern: `sk_[0-9a-f]{48}`},
		{kind: "voyage_key", pattern: `pa-[\w-]{43}`, entropy: 4.5},
		{kind: "cohere_key", key: "cohereapikey", pattern: `[A-Za-z0-9]{40}`, entropy: 4},
		{kind: "cohere_key", key: "coapikey", pattern: `[A-Za-z0-9]{40}`, entropy: 4},
		{kind: "mistral_key", key: "mistralapikey", pattern: `[A-Za-z0-9]{32}`, entropy: 3.8},
		{kind: "gemini_key", pattern: `AQ\.[\w-]{40,60}`, entropy: 4},
	}
}

// modelToolRules are of tools around language models.
func modelToolRules() []rule {
	return []rule{
		{kind: "langsmith_key", pattern: `lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}`},
		{kind: "langfuse_secret", pattern: `sk-lf-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{kind: "pinecone_key", pattern: `pcsk_[A-Za-z0-9]{5,6}_[A-Za-z0-9]{63}`},
		{kind: "wandb_key", pattern: `wandb_v1_[\w-]{40,90}`},
		{kind: "wandb_key", key: "wandbapikey", pattern: `[0-9a-f]{40}`},
		{kind: "tavily_key", pattern: `tvly-(?:dev-|prod-)?[A-Za-z0-9]{32}`},
		{kind: "firecrawl_key", pattern: `fc-[0-9a-f]{32}`},
		{kind: "exa_key", key: "exaapikey", pattern: `[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`},
		{kind: "e2b_key", pattern: `e2b_[0-9a-f]{40}`},
		{kind: "llamacloud_key", pattern: `llx-[A-Za-z0-9]{48}`},
		{kind: "composio_key", pattern: `ak_[\w-]{20}`, entropy: 3.6},
		{kind: "browserbase_key", pattern: `bb_live_[\w-]{27}`},
	}
}
