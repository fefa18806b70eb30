"""Models on the Hugging Face Hub: downloaded, verified, and kept in the Hub client's own cache.

`reference` reads names, `listing` finds the files they mean, `files` downloads, finds and removes
them, `fetch` does one download's work and `cache` knows the files on disk.

The client's variables apply: HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_ENDPOINT, HF_HUB_OFFLINE,
HF_HUB_DOWNLOAD_TIMEOUT.
"""

from rerankd.settings.proxies import require_hub_variables

require_hub_variables()
