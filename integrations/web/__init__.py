"""What our HTTP servers share, whatever they serve.

`addresses` says where they listen and by which names they are called, `tokens` and `rates` who may
call and how often, `http_messages` what a request and a reply hold; `running` runs one, with its
`bounded_connections`.
"""
