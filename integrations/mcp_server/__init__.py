"""A memory as an MCP server: the operations as tools, passages as resources.

`serving.serve` runs it over stdio or HTTP; `handlers` answers requests, and `http_app` guards the
way in.
"""
