"""A memory as an HTTP service: each operation an address, JSON in and out.

`http_serving.serve_http` runs it; `service_app` lets callers in and answers them, `recall_batches`
walks recalls that arrive together as one, `refusals` says what becomes of errors, `server_limits`
what a caller may cost, `server_metrics` counts, and `open_api` describes it all.
"""
