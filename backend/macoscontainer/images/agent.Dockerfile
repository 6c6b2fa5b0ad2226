# The default agent image: common tools, and the user that every bottle has.
# Replace it with BOTTLE_MCP_AGENT_DOCKERFILE or BOTTLE_MCP_AGENT_IMAGE.
FROM debian:stable-slim
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
    ca-certificates curl git less openssh-client procps python3-minimal ripgrep \
 && rm -rf /var/lib/apt/lists/*
RUN groupadd --gid 1000 agent \
 && useradd --uid 1000 --gid 1000 --create-home --home-dir /home/agent --shell /bin/bash agent \
 && install --directory --owner agent --group agent /home/agent/workspace
USER agent
WORKDIR /home/agent/workspace
