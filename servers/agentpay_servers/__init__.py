"""What runs: the MCP server and the command line."""
