"""One step through one llama context, for each way of scoring."""
